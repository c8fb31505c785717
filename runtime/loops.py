"""One owner for every background loop: a crash is logged and the loop started again, within a budget."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from contracts import metrics as metric
from contracts.cancellation import being_cancelled, forget_cancellations
from contracts.errors import Unavailable
from contracts.ports import Clock, Log, Metrics
from runtime.policy.retry import describe
from runtime.tasks import Tasks

CRASH_BUDGET = 10
CRASH_WINDOW_S = 300.0
BACKOFF_MAX_S = 15.0

Loop = Callable[[], Coroutine[Any, Any, None]]


class Loops:
    """Starts loops and ends them; `on_exhausted` hears that the budget is used up, and by what."""

    def __init__(
        self,
        tasks: Tasks,
        clock: Clock,
        log: Log,
        on_exhausted: Callable[[str], None],
        *,
        metrics: Metrics | None = None,
    ) -> None:
        self._tasks = tasks
        self._clock = clock
        self._log = log
        self._on_exhausted = on_exhausted
        self._metrics = metrics
        self._running: dict[str, asyncio.Task[None]] = {}
        self._crashes: deque[tuple[float, str]] = deque(maxlen=CRASH_BUDGET)

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
            except asyncio.CancelledError as error:
                if being_cancelled():
                    raise
                # Nobody ends it: something that it waited for was cancelled. Else it would be gone without a word.
                if self._crashed(name, error):
                    return
            except Exception as error:  # noqa: BLE001 - whatever it was, the loop is started again, within the budget
                if self._crashed(name, error):
                    return
            if self._clock.monotonic() - started_at > BACKOFF_MAX_S:
                failures = 0
            failures += 1
            forget_cancellations()
            await self._clock.sleep(min(BACKOFF_MAX_S, 0.1 * 2.0**failures) * (0.5 + self._clock.random() / 2))

    def _crashed(self, name: str, error: BaseException) -> bool:
        """Tell it, and whether that used up the budget."""
        now = self._clock.monotonic()
        self._log.exception("loop crashed", loop=name)
        if self._metrics is not None:
            self._metrics.add(metric.LOOP_CRASHES, loop=name)
        self._crashes.append((now, name))
        if len(self._crashes) < CRASH_BUDGET or now - self._crashes[0][0] >= CRASH_WINDOW_S:
            return False
        names = ", ".join(sorted({name for _, name in self._crashes}))
        self._on_exhausted(
            f"{name}: {CRASH_BUDGET} crashes within {CRASH_WINDOW_S:g} s (of {names}), the last one {describe(error)}"
        )
        return True
