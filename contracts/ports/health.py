"""What every adapter answers to readiness and to the supervisor."""

from __future__ import annotations

from typing import Protocol


class Checked(Protocol):
    """An adapter's life: made without I/O, opened once, checked often, closed once."""

    async def open(self) -> None:
        """Connect. Raises `Unavailable` with the address (never with a secret) when that can't be done."""
        ...

    async def check(self) -> None:
        """One cheap round trip (`SELECT 1`, PING, list the root); raises `Unavailable`. The caller has a deadline."""
        ...

    async def close(self) -> None:
        """Release everything; idempotent; never raises for what is already gone."""
        ...

    @property
    def address(self) -> str:
        """Where it is, for the start-up summary: without user, password or token."""
        ...
