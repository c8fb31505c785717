"""Progress-based liveness: a handler that makes no progress for its route's `stall_s` is reported with its stack, and
cut as a failure.

Progress is: something that the handler awaited came back, or `Job.progress` or `Job.checkpoint` was called, also from
tasks and threads that the handler started (one that only waits for tasks of its own makes progress by these alone). A
plain function can't be cut: it is reported, and what it comes to is its outcome.

Watching costs a call for each time that the handler goes on, and only on routes that declare `stall_s`. One loop looks
after all of them, four times in the shortest `stall_s`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextvars import ContextVar
from typing import Any

from contracts import metrics as metric
from contracts.errors import Transient
from contracts.logging_context import current_work
from contracts.logging_context import work as about
from contracts.ports import Clock, Log, Metrics
from runtime import stacks

LOOKS = 4
"""So often in the shortest `stall_s` the loop looks: a stall is seen at most that part later."""
LONGEST_WAIT_S = 5.0

_WATCHED: ContextVar[Watched | None] = ContextVar("millrace_watched", default=None)


class Watched:
    """A running handler. `moves` counts its progress; `stalled` how often it was told to make none."""

    __slots__ = ("about", "address", "cut", "moves", "seen_at", "seen_moves", "stack", "stall_s", "stalled")

    def __init__(
        self, *, address: str, stall_s: float, now: float, stack: Callable[[], str], cut: Callable[[], object] | None
    ) -> None:
        self.address = address
        self.stall_s = stall_s
        self.stack = stack
        self.cut = cut
        self.moves = 0
        self.stalled = 0
        self.about = current_work()
        self.seen_moves = 0
        self.seen_at = now


def note_progress() -> None:
    """The running handler, if one is watched around the caller, makes progress. From any task or thread of it."""
    if watched := _WATCHED.get():
        watched.moves += 1


class Liveness:
    """`run` is the loop; `watch` and `watching` put a handler under its eyes for as long as it runs."""

    def __init__(self, clock: Clock, log: Log, metrics: Metrics) -> None:
        self._clock = clock
        self._log = log
        self._metrics = metrics
        self._watched: set[Watched] = set()
        self._shortest_s = float("inf")
        self._began = asyncio.Event()

    def declare(self, stall_s: float) -> None:
        """There will be handlers with this limit."""
        self._shortest_s = min(self._shortest_s, stall_s)

    async def watch(self, handler: Coroutine[Any, Any, Any], *, address: str, stall_s: float) -> Any:
        """What the handler returns or raises; `Transient` when it was cut because it stalled."""
        task = asyncio.current_task()
        assert task is not None
        before = task.cancelling()
        with self.watching(
            address=address, stall_s=stall_s, stack=lambda: stacks.of_coroutine(handler, task), cut=task.cancel
        ) as watched:
            try:
                result = await _Steps(handler, watched)
            except asyncio.CancelledError as error:
                if _take_back(task, watched) and task.cancelling() <= before:
                    raise Transient(
                        f"the handler made no progress for {stall_s:g} s: nothing that it awaited came back, and it "
                        "said nothing of progress"
                    ) from error
                raise
            except BaseException:
                _take_back(task, watched)
                raise
            _take_back(task, watched)
            return result

    @contextlib.contextmanager
    def watching(
        self, *, address: str, stall_s: float, stack: Callable[[], str], cut: Callable[[], object] | None
    ) -> Iterator[Watched]:
        """The same for what runs elsewhere: `stack` tells where it is, `cut` asks it to end."""
        watched = Watched(address=address, stall_s=stall_s, now=self._clock.monotonic(), stack=stack, cut=cut)
        token = _WATCHED.set(watched)
        self._watched.add(watched)
        self._began.set()
        try:
            yield watched
        finally:
            self._watched.discard(watched)
            _WATCHED.reset(token)

    async def run(self) -> None:
        """The loop: it sleeps while nothing is watched."""
        while True:
            if not self._watched:
                self._began.clear()
                await self._began.wait()
            await self._clock.sleep(min(LONGEST_WAIT_S, self._shortest_s / LOOKS))
            self._look(self._clock.monotonic())

    def _look(self, now: float) -> None:
        for watched in tuple(self._watched):
            if watched.moves != watched.seen_moves:
                watched.seen_moves, watched.seen_at = watched.moves, now
            elif now - watched.seen_at >= watched.stall_s:
                watched.seen_at = now
                self._report(watched)

    def _report(self, watched: Watched) -> None:
        watched.stalled += 1
        known = watched.about
        with about(correlation_id=known.correlation_id, job_id=known.job_id, module=known.module):
            self._log.error(
                "a handler makes no progress",
                address=watched.address,
                stall_s=watched.stall_s,
                does="it is cut as a failure" if watched.cut else "its thread can't be ended; it is waited for",
                stack=watched.stack(),
            )
        self._metrics.add(metric.HANDLER_STALLS, address=watched.address)
        if watched.cut:
            watched.cut()


class _Steps:
    """Awaits a coroutine and counts how often it goes on."""

    __slots__ = ("_coroutine", "_send", "_watched")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], watched: Watched) -> None:
        self._coroutine = coroutine
        self._send = coroutine.send
        self._watched = watched

    def __await__(self) -> Generator[Any, Any, Any]:
        # An iterator with `throw` and `close` is all that an await uses.
        return self

    def __iter__(self) -> _Steps:
        return self

    def __next__(self) -> Any:
        self._watched.moves += 1
        return self._send(None)

    def send(self, value: Any) -> Any:
        self._watched.moves += 1
        return self._send(value)

    def throw(self, *error: Any) -> Any:
        self._watched.moves += 1
        return self._coroutine.throw(*error)

    def close(self) -> None:
        self._coroutine.close()


def _take_back(task: asyncio.Task[Any], watched: Watched) -> bool:
    """The cancellations that we asked for; whether there were any."""
    for _ in range(watched.stalled):
        task.uncancel()
    return watched.stalled > 0
