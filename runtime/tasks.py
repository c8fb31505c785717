"""The one owner of asyncio tasks that outlive the call that starts them: none is ever lost or left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")

AGAIN_S = 5.0
"""After so long a task that was cancelled and did not end is cancelled again."""


class Tasks:
    """A set of running tasks. A task group can't stand here: what starts and what ends them are different calls."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
        """Whoever starts it looks at its result or its error."""
        task = asyncio.create_task(work, name=name)  # noqa: TID251 - this is the owner that the ban asks for
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def stop(self, *tasks: asyncio.Task[Any]) -> None:
        """Cancel these (all when none is named), newest first, and wait for their end. Whoever lost the cancellation
        on its way, as libraries do, gets another one."""
        ending: Iterable[asyncio.Task[Any]] = tasks or tuple(self._running)
        while ending:
            for task in reversed(tuple(ending)):
                task.cancel()
            _, ending = await asyncio.wait(ending, timeout=AGAIN_S)
