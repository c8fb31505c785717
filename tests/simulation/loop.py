"""An event loop without threads, sockets or time of its own: who goes next is drawn from a seed, and its clock jumps.

Every handle belongs to the simulated process whose `OWNER` is in its context; tasks inherit it. The processes are
independent, so any of them may go next. Within one process handles run in the order in which they became ready, as
asyncio does it, or (`fifo=False`) in any order, which finds what rests on that order by accident.
"""

from __future__ import annotations

import asyncio
import heapq
import random
import sys
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context, ContextVar
from itertools import count
from typing import Any, TypeVar

T = TypeVar("T")

OWNER: ContextVar[str] = ContextVar("owner", default="")
"""The simulated process that runs; empty: the world around them."""


class SimTask(asyncio.Task[Any]):
    """Hashed by its place in the order of making, so that sets of tasks are walked alike in every run."""

    _made = count()

    def __new__(cls, *_args: Any, **_kwargs: Any) -> SimTask:
        task = super().__new__(cls)
        task.number = next(cls._made)
        return task

    number: int
    owner: str

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other


class SimLoop(asyncio.BaseEventLoop):
    """Runs one coroutine to its end, and whatever that starts. `most_steps` bounds a run that never ends."""

    def __init__(self, chance: random.Random, *, fifo: bool, most_steps: int = 2_000_000) -> None:
        self._runs = self._disposed = False
        super().__init__()
        self._chance = chance
        self._fifo = fifo
        self._most_steps = most_steps
        self._now = 1.0
        self._ready_of: dict[str, deque[asyncio.Handle]] = {}
        self._blocked: set[str] = set()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._timed = 0
        self._stop_asked = False
        self.steps = 0
        self.tasks: list[SimTask] = []
        """All that were made: what a dead process left must not be collected, which would run its clean-up."""
        self.on_error: Callable[[dict[str, Any]], None] = lambda _: None
        SimTask._made = count()

    # Time and order.

    def time(self) -> float:
        return self._now

    def block(self, owner: str) -> None:
        """Nothing of this process runs any more, until `unblock`. What becomes ready meanwhile waits."""
        self._blocked.add(owner)

    def unblock(self, owner: str) -> None:
        self._blocked.discard(owner)

    def blocked(self, owner: str) -> bool:
        return owner in self._blocked

    def run(self, main: Coroutine[Any, Any, T]) -> T | None:
        """What `main` returns; None when `stop` was called before its end."""
        previous = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=None, finalizer=lambda _: None)
        asyncio._set_running_loop(self)
        self._runs = True
        try:
            running = self.create_task(main, name="main")
            while not running.done() and not self._stop_asked:
                self._step()
            return running.result() if running.done() else None
        finally:
            self._runs = False
            asyncio._set_running_loop(None)
            sys.set_asyncgen_hooks(*previous)

    def stop(self) -> None:
        """After the present step."""
        self._stop_asked = True

    def dispose(self) -> None:
        """End what is left, without a word: its clean-up code runs now, when nobody looks any more."""
        self._ready_of.clear()
        self._timers.clear()
        asyncio._set_running_loop(self)
        unraisable, sys.unraisablehook = sys.unraisablehook, lambda _: None
        try:
            for task in self.tasks:
                if not task.done():
                    task._log_destroy_pending = False  # type: ignore[attr-defined]
                    with suppress(BaseException):
                        task.get_coro().close()
                elif not task.cancelled():
                    task.exception()
        finally:
            asyncio._set_running_loop(None)
            self.tasks.clear()
            self._disposed = True
            sys.unraisablehook = unraisable
            self._ready_of.clear()

    def _step(self) -> None:
        blocked = self._blocked
        able = [queue for owner, queue in self._ready_of.items() if queue and owner not in blocked]
        if not able:
            self._let_time_pass()
            return
        queue = able[0] if len(able) == 1 else able[int(self._chance.random() * len(able))]
        if self._fifo or len(queue) == 1:
            handle = queue.popleft()
        else:
            queue.rotate(-int(self._chance.random() * len(queue)))
            handle = queue.popleft()
        if handle._cancelled:
            return
        self.steps += 1
        if self.steps > self._most_steps:
            raise RuntimeError(f"it did not end within {self._most_steps} steps")
        handle._run()

    def _let_time_pass(self) -> None:
        timers = self._timers
        while timers and timers[0][2]._cancelled:
            heapq.heappop(timers)
        if not timers:
            raise RuntimeError("everything waits, and nothing is ever going to happen")
        self._now = max(self._now, timers[0][0])
        while timers and timers[0][0] <= self._now:
            handle = heapq.heappop(timers)[2]
            if not handle._cancelled:
                self._push(handle)

    def _push(self, handle: asyncio.Handle) -> None:
        owner = handle._context.get(OWNER, "")  # type: ignore[attr-defined]
        queue = self._ready_of.get(owner)
        if queue is None:
            queue = self._ready_of[owner] = deque()
        queue.append(handle)

    # What asyncio asks of a loop.

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:  # type: ignore[override]
        handle = asyncio.Handle(callback, args, self, context)
        self._push(handle)
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._timed += 1
        heapq.heappush(self._timers, (when, self._timed, handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is passed over when its time comes."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, **options: Any) -> Any:
        task = SimTask(coro, loop=self, **options)
        context = options.get("context")
        task.owner = OWNER.get() if context is None else context.get(OWNER, "")
        self.tasks.append(task)
        return task

    def get_task_factory(self) -> None:
        return None

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.on_error(context)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return self._runs

    def is_closed(self) -> bool:
        return self._disposed
