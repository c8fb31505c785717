"""A server that is coming up is waited for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from contracts.errors import Unavailable

T = TypeVar("T")

FIRST_RETRY_S = 0.05
LAST_RETRY_S = 1.0


async def until_it_is_up(
    attempt: Callable[[], Awaitable[T]], *, within_s: float, may_come_up: Callable[[Unavailable], bool]
) -> T:
    """What the first attempt that succeeds returns. Raises the last one's `Unavailable` when the time is over, or at
    once what waiting would not mend."""
    give_up_at, pause_s = time.perf_counter() + within_s, FIRST_RETRY_S
    while True:
        try:
            return await attempt()
        except Unavailable as error:
            if not may_come_up(error) or time.perf_counter() + pause_s > give_up_at:
                raise
        # A real server's start can't be waited for on a clock that a test turns by hand.
        await asyncio.sleep(pause_s)  # noqa: TID251
        pause_s = min(pause_s * 2, LAST_RETRY_S)
