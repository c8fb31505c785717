"""The only place that reads time or randomness."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Time, waiting, randomness and ids; a test turns one by hand."""

    def now(self) -> datetime:
        """Aware UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds from an unnamed start; never goes back."""
        ...

    async def sleep(self, delay_s: float) -> None: ...

    def timeout(self, delay_s: float) -> AbstractAsyncContextManager[object]:
        """Raises `TimeoutError` out of its block after `delay_s`."""
        ...

    def random(self) -> float:
        """Uniform in [0, 1)."""
        ...

    def new_id(self) -> str:
        """A fresh id that sorts by time (UUID version 7), as 32 hex digits."""
        ...
