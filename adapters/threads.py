"""Blocking calls in threads; a cancelled caller leaves at once and nothing that it opened stays open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class Threads:
    """A few threads of our own, so that a disk that hangs does not hold up what else uses threads."""

    def __init__(self, *, name: str, most: int = 8) -> None:
        self._pool = ThreadPoolExecutor(max_workers=most, thread_name_prefix=name)

    def submit(self, act: Callable[[], T]) -> Future[T]:
        """Begin `act`; wait for it with `result`."""
        return self._pool.submit(act)

    async def run(self, act: Callable[[], T], *, undo: Callable[[T], None] | None = None) -> T:
        """What `act` returns. When the caller is cancelled meanwhile, `undo` gets it (in that thread)."""
        future = self.submit(act)
        try:
            return await result(future)
        except asyncio.CancelledError:
            if undo is not None:
                future.add_done_callback(lambda done: _undo(done, undo))
            raise

    def close(self) -> None:
        """What runs, runs to its end; nothing is waited for."""
        self._pool.shutdown(wait=False)


async def result(future: Future[T]) -> T:
    """Wait for what was begun by `Threads.submit`."""
    return await asyncio.wrap_future(future)


def _undo(future: Future[T], undo: Callable[[T], None]) -> None:
    if not future.cancelled() and future.exception() is None:
        undo(future.result())
