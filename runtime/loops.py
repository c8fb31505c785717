"""One owner for every background loop: a crash is logged and the loop started again, within a budget."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from contracts.errors import Unavailable
from contracts.ports import Clock, Log
from runtime.tasks import Tasks

CRASH_BUDGET = 10
CRASH_WINDOW_S = 300.0
BACKOFF_MAX_S = 15.0

Loop = Callable[[], Coroutine[Any, Any, None]]


class Loops:
    """Starts loops and ends them; `on_exhausted` hears which loop used up the budget."""

    def __init__(self, tasks: Tasks, clock: Clock, log: Log, on_exhausted: Callable[[str], None]) -> None:
        self._tasks = tasks
        self._clock = clock
        self._log = log
        self._on_exhausted = on_exhausted
        self._running: dict[str, asyncio.Task[None]] = {}
        self._crashes: deque[float] = deque(maxlen=CRASH_BUDGET)

    def start(self, name: str, loop: Loop) -> None:
        """`loop` runs until it returns or is stopped."""
        if name in self._running:
            raise ValueError(f"loop {name} runs already")
        self._running[name] = self._tasks.start(self._supervise(name, loop), name=name)

    async def stop(self, *names: str) -> None:
        """Cancel the named loops (all when none is named), newest first, and wait for their end."""
        for name in reversed(names or tuple(self._running)):
            if loop := self._running.pop(name, None):
                await self._tasks.stop(loop)

    async def _supervise(self, name: str, loop: Loop) -> None:
        failures = 0
        while True:
            started_at = self._clock.monotonic()
            try:
                await loop()
                return
            except Unavailable as error:
                # A dependency that is down is not a crash: the loop waits for it as long as it takes.
                self._log.warn("loop waits for a dependency", loop=name, error=str(error))
            except Exception:  # noqa: BLE001 - whatever it was, the loop is started again, within the budget
                self._log.exception("loop crashed", loop=name)
                if self._exhausted():
                    self._on_exhausted(name)
                    return
            if self._clock.monotonic() - started_at > BACKOFF_MAX_S:
                failures = 0
            failures += 1
            await self._clock.sleep(min(BACKOFF_MAX_S, 0.1 * 2.0**failures) * (0.5 + self._clock.random() / 2))

    def _exhausted(self) -> bool:
        now = self._clock.monotonic()
        self._crashes.append(now)
        return len(self._crashes) == CRASH_BUDGET and now - self._crashes[0] < CRASH_WINDOW_S
