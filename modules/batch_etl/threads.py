"""What costs CPU runs in threads, so that the event loop stays free."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import TypeVar, TypeVarTuple

T = TypeVar("T")
Args = TypeVarTuple("Args")


async def in_thread(call: Callable[[*Args], T], *args: *Args) -> T:
    """What the call returns. Cancelled, it waits for the call's end: what that works on can be closed afterwards."""
    running = asyncio.get_running_loop().run_in_executor(None, call, *args)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


async def each_in_thread(made: Iterator[T]) -> AsyncGenerator[T]:
    """Each item is made in a thread, when it is asked for."""

    def one() -> tuple[T, ...]:
        for item in made:
            return (item,)
        return ()

    while got := await in_thread(one):
        yield got[0]
