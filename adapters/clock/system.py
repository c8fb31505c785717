"""The computer's own time and randomness."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime

from adapters.clock.ids import IdSource
from adapters.clock.timeouts import Timeout, Timeouts

_LENGTHS = 64
"""So many different lengths share timers at once."""


class SystemClock:
    """The one place that reads time or randomness; it keeps no state but the last id's stamp and its timers."""

    def __init__(self) -> None:
        self._ids = IdSource(time.time_ns, random.SystemRandom().getrandbits)
        self._random = random.Random()  # noqa: S311 - jitter, not secrets
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timeouts: dict[float, Timeouts] = {}

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
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._timeouts = loop, {}
        timeouts = self._timeouts.get(delay_s)
        if timeouts is None:
            if delay_s <= 0 or not self._has_room():
                return asyncio.timeout(max(0.0, delay_s))
            timeouts = self._timeouts[delay_s] = Timeouts(loop, delay_s)
        return Timeout(timeouts)

    def _has_room(self) -> bool:
        """For one length more; those that nobody uses any more make it."""
        if len(self._timeouts) >= _LENGTHS:
            for length, timeouts in list(self._timeouts.items()):
                if timeouts.idle:
                    self._timeouts.pop(length).close()
        return len(self._timeouts) < _LENGTHS

    def random(self) -> float:
        """Uniform in [0, 1)."""
        return self._random.random()

    def new_id(self) -> str:
        """UUID version 7 as 32 hex digits."""
        return self._ids.next()
