"""A thread that sees when the event loop stands still, and says where.

The loop sets a heartbeat ten times a second; the thread sleeps until one would be overdue. A loop that is late by more
than `loop_stall_s` is logged once, with the stack that blocks it, and counted; that it has no processor is told instead
where that is why.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import msgspec

from contracts import metrics as metric
from contracts.ports import Log, Metrics
from runtime import run_queue, stacks

BEAT_S = 0.1


class LoopStalls(msgspec.Struct, frozen=True, kw_only=True):
    """How often the loop stood still since the start, for how long the last time, and how long ago that began."""

    count: int
    last_s: float
    ago_s: float


class Watchdog:
    """Watches the loop that runs `start`, until `stop`. Real time, whatever the process's clock is: a blocked loop
    turns none by hand. `stall_s` of 0 watches nothing. The thread is a daemon: it keeps no process from ending."""

    def __init__(
        self,
        log: Log,
        metrics: Metrics,
        *,
        stall_s: float,
        beat_s: float = BEAT_S,
        now: Callable[[], float] = time.perf_counter,
        queued_s: Callable[[int], float] = run_queue.queued_s,
    ) -> None:
        self._log = log
        self._metrics = metrics
        self._stall_s = stall_s
        self._beat_s = min(beat_s, stall_s / 4)
        self._now = now
        self._queued_s = queued_s
        self._beat_at = 0.0
        self._loop_thread = self._native_thread = 0
        self._next: asyncio.TimerHandle | None = None
        self._stop = threading.Event()
        self._count = 0
        self._stalled_at = 0.0
        self._stalled_s = 0.0

    def start(self) -> None:
        if self._stall_s <= 0:
            return
        self._loop_thread, self._native_thread = threading.get_ident(), threading.get_native_id()
        self._beat(asyncio.get_running_loop())
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Idempotent."""
        self._stop.set()
        if self._next:
            self._next.cancel()

    @property
    def stalls(self) -> LoopStalls | None:
        """None: there were none."""
        if not self._count:
            return None
        ago_s = self._now() - self._stalled_at
        return LoopStalls(count=self._count, last_s=round(self._stalled_s, 3), ago_s=round(ago_s, 3))

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        self._beat_at = self._now()
        if not self._stop.is_set():
            self._next = loop.call_later(self._beat_s, self._beat, loop)

    def _watch(self) -> None:
        told = 0.0  # the beat after which nothing came, once that was told
        while True:
            beat_at, began_at, queued_s = self._beat_at, self._now(), self._queued_s(self._native_thread)
            wait_s = max(self._beat_s, beat_at + self._stall_s - began_at)
            if self._stop.wait(wait_s):
                return
            now = self._now()
            if told and self._beat_at != told:
                self._goes_on(told)
                told = 0.0
            # If this thread overslept as well, the whole process stood still (stopped, or its machine asleep).
            overslept = now - began_at - wait_s > self._stall_s / 2
            if not told and not overslept and self._beat_at == beat_at and now - beat_at >= self._stall_s:
                self._tell(now - beat_at, self._queued_s(self._native_thread) - queued_s)
                told = beat_at

    def _tell(self, late_s: float, queued_s: float) -> None:
        stack = stacks.of_thread(self._loop_thread)
        self._count += 1
        self._stalled_at = self._beat_at
        self._stalled_s = late_s
        self._metrics.add(metric.LOOP_STALLS)
        if queued_s > late_s / 2:
            self._log.error(
                "the event loop gets no processor: this machine, or the limit of this container, is used up",
                late_s=round(late_s, 3),
                queued_s=round(queued_s, 3),
                remedy="give it more of a processor, or run less beside it",
            )
            return
        self._log.error(
            "the event loop is blocked: nothing else goes on in this process",
            late_s=round(late_s, 3),
            stack=stack,
            remedy="await instead of blocking; a handler that must block is declared `def`, and runs in a thread",
        )

    def _goes_on(self, since: float) -> None:
        self._stalled_s = self._beat_at - since
        self._log.warn("the event loop goes on", blocked_s=round(self._stalled_s, 3))
