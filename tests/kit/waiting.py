"""Waiting for what other processes do, which give no signal to this one."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable


async def until(
    condition: Callable[[], bool | Awaitable[bool]], *, timeout_s: float = 10.0, what: str = "the condition"
) -> None:
    """Returns as soon as `condition` holds; raises `AssertionError` when it does not in time.

    Only for what is outside of this process: inside, wait on an event, or advance the clock.
    """
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                holds = condition()
                if inspect.isawaitable(holds):
                    holds = await holds
                if holds:
                    return
                await asyncio.sleep(0.005)  # noqa: TID251 - there is nothing to wait on
    except TimeoutError:
        raise AssertionError(f"{what} did not come true within {timeout_s:g} s") from None
