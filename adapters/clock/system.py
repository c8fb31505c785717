"""The computer's own time and randomness."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime

from adapters.clock.ids import IdSource


class SystemClock:
    """The one place that reads time or randomness; it keeps no state but the last id's stamp."""

    def __init__(self) -> None:
        self._ids = IdSource(time.time_ns, random.SystemRandom().getrandbits)
        self._random = random.Random()  # noqa: S311 - jitter, not secrets

    def now(self) -> datetime:
        """Aware UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds from an unnamed start; never goes back."""
        return time.monotonic()

    async def sleep(self, delay_s: float) -> None:
        """Gives way to other tasks even when `delay_s` is 0 or less."""
        await asyncio.sleep(max(0.0, delay_s))

    def timeout(self, delay_s: float) -> AbstractAsyncContextManager[object]:
        """Raises `TimeoutError` out of its block after `delay_s`; at once when that is 0 or less."""
        return asyncio.timeout(max(0.0, delay_s))

    def random(self) -> float:
        """Uniform in [0, 1)."""
        return self._random.random()

    def new_id(self) -> str:
        """UUID version 7 as 32 hex digits."""
        return self._ids.next()
