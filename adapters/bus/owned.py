"""Tasks that something with `open` and `close` owns, where a task group's block has no place to stand."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

_logger = logging.getLogger("millrace.bus")


class OwnedTasks:
    """Starts tasks, keeps them, and ends them all: none is collected while it runs, none outlives its owner.

    A task that fails is logged at once with its traceback and does not disturb its siblings; so is one that ended as
    what it waited for was cancelled. `fault` is what the last of them failed with: for the owner's `check`.
    """

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._tasks: set[asyncio.Task[Any]] = set()
        self.fault = ""

    def start(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work, name=f"{self._owner}: {name}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def cancel(self) -> None:
        """Ask all to end, without waiting; for a caller that cannot await."""
        for task in self._others():
            task.cancel()

    async def finished(self) -> None:
        """Wait until every task ended by itself; the deadline is in the tasks."""
        while tasks := self._others():
            await asyncio.wait(tasks)

    async def close(self) -> None:
        """Cancel all and wait for their clean-up. A task that calls this about itself is not waited for."""
        self.cancel()
        await self.finished()

    def _others(self) -> set[asyncio.Task[Any]]:
        return self._tasks - {asyncio.current_task()}

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            if error := task.exception():
                self.fault = f"{task.get_name()} failed: {type(error).__name__}: {error}"
                _logger.error("%s failed", task.get_name(), exc_info=error)
        elif not task.cancelling():
            self.fault = f"{task.get_name()} ended: something that it waited for was cancelled"
            _logger.error("%s", self.fault)
