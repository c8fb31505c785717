"""The time in which Redis does not answer: it is not asked, and tried in the background until it does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from contracts.ports.clock import Clock
from contracts.ports.log import Log

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 15.0


class Outage:
    """`begin` it at the first fault; it ends by itself once `attempt` raises nothing. Each is logged once."""

    def __init__(self, attempt: Callable[[], Awaitable[None]], *, address: str, clock: Clock, log: Log) -> None:
        self._attempt = attempt
        self._address = address
        self._clock = clock
        self._log = log
        self._trying: asyncio.Task[None] | None = None
        self.why = ""
        """Empty while there is none."""

    def begin(self, error: Exception) -> None:
        """A no-op while there is one."""
        if self.why:
            return
        self.why = str(error) or type(error).__name__
        self._log.warn("the cache does not answer; work goes on without it", address=self._address, error=self.why)
        self._trying = asyncio.get_running_loop().create_task(self._try(), name="cache: until Redis answers")

    async def close(self) -> None:
        """Idempotent."""
        if self._trying is not None:
            self._trying.cancel()
            await asyncio.wait([self._trying])
            self._trying = None

    async def _try(self) -> None:
        began_at, pause_s = self._clock.monotonic(), FIRST_PAUSE_S
        while True:
            await self._clock.sleep(pause_s * (0.75 + self._clock.random() / 2))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            with contextlib.suppress(Exception):
                await self._attempt()
                break
        self.why = ""
        self._log.info(
            "the cache answers again", address=self._address, after_s=round(self._clock.monotonic() - began_at, 1)
        )
