"""One load a key at a time, in this process: who asks for what is being loaded waits for that."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from contracts.ports.clock import Clock

LOAD_WAIT_S = 10.0
"""Nobody waits longer for another one's load: then he loads by himself."""


class _Flight:
    def __init__(self) -> None:
        self.landed = asyncio.Event()
        self.value: bytes | None = None


class Flights:
    """What is forgotten while it is loaded is loaded anew by whoever asks afterwards, and is not kept: it may have been
    read before the change that it was forgotten for."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._flights: dict[str, _Flight] = {}

    async def value(
        self, key: str, load: Callable[[], Awaitable[bytes]], keep: Callable[[bytes], Awaitable[None]]
    ) -> bytes:
        """What `load` returns, to all who ask meanwhile; `keep` gets it unless it was forgotten. When the one who loads
        fails or is cancelled, the next one loads."""
        while (flight := self._flights.get(key)) is not None:
            try:
                async with self._clock.timeout(LOAD_WAIT_S):
                    await flight.landed.wait()
            except TimeoutError:
                return await load()
            if flight.value is not None:
                return flight.value
        flight = self._flights[key] = _Flight()
        try:
            value = await load()
            if self._flights.get(key) is flight:
                await keep(value)
            flight.value = value
            return value
        finally:
            flight.landed.set()
            if self._flights.get(key) is flight:
                del self._flights[key]

    def forget(self, *keys: str) -> None:
        """They are set or deleted."""
        for key in keys:
            self._flights.pop(key, None)

    def forget_all(self, prefix: str) -> None:
        """Those that begin so are deleted."""
        self.forget(*[key for key in self._flights if key.startswith(prefix)])
