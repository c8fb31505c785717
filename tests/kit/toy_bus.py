"""The publishing half of a bus, and of a log, as simple as can be: for tests of who publishes."""

from __future__ import annotations

from collections.abc import Callable

from contracts.errors import Permanent, Transient
from contracts.message import Envelope


class Lines:
    """Implements as much of `Log` as is needed: what was said, by level."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    def __getattr__(self, level: str) -> Callable[..., None]:
        return lambda message, **_: self.said.append((level, message))


class ToyBus:
    """Takes messages as long as nothing speaks against it."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.taken: list[str] = []
        self.down: Exception | None = None
        self.refused: set[str] = set()
        self.room = 10**9

    async def publish(self, *envelopes: Envelope) -> None:
        self.calls.append([envelope.id for envelope in envelopes])
        if self.down is not None:
            raise self.down
        for envelope in envelopes:
            if envelope.id in self.refused:
                raise Permanent(f"{envelope.id} is too large")
            if not self.room:
                raise Transient("the topic is full")
            self.room -= 1
            self.taken.append(envelope.id)
