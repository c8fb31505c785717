"""A blocked event loop is seen from a thread, and told once with the stack that blocks it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.metrics.memory import MemoryMetrics
from contracts import metrics as metric
from contracts.message import Contract
from contracts.module import Module
from runtime.readiness import Readiness
from runtime.run_queue import queued_s
from runtime.watchdog import Watchdog
from tests.kit.harness import harness

pytestmark = pytest.mark.anyio

WAIT_S = 10.0


class HeardLog:
    """Sets an event at each line, from whatever thread it comes."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []
        self.blocked = threading.Event()
        self.goes_on = threading.Event()

    def error(self, message: str, /, **context: Any) -> None:
        self.lines.append((message, context))
        self.blocked.set()

    def warn(self, message: str, /, **context: Any) -> None:
        self.lines.append((message, context))
        self.goes_on.set()

    debug = info = exception = warn

    def bind(self, **context: Any) -> HeardLog:
        return self


@pytest.fixture
def log() -> HeardLog:
    return HeardLog()


@pytest.fixture
async def watchdog(log: HeardLog) -> AsyncIterator[Watchdog]:
    made = Watchdog(log, MemoryMetrics(), stall_s=0.05, beat_s=0.01)
    made.start()
    yield made
    made.stop()


def block(until: threading.Event) -> None:
    assert until.wait(WAIT_S), "the watchdog did not bark"


async def test_a_blocked_loop_is_told_with_the_stack_that_blocks_it(watchdog: Watchdog, log: HeardLog) -> None:
    assert not watchdog.stalls
    block(log.blocked)
    message, context = log.lines[0]
    assert message.startswith("the event loop is blocked")
    assert "in block" in context["stack"]
    assert "until.wait(WAIT_S)" in context["stack"], "the line itself"
    assert context["late_s"] >= 0.05
    assert watchdog.stalls is not None
    assert watchdog.stalls.count == 1


async def test_a_loop_that_gets_no_processor_is_not_called_blocked(log: HeardLog) -> None:
    real = asyncio.get_running_loop().time
    watchdog = Watchdog(log, MemoryMetrics(), stall_s=0.05, beat_s=0.01, queued_s=lambda _: real() * 0.9)
    watchdog.start()
    block(log.blocked)
    watchdog.stop()
    message, context = log.lines[0]
    assert message.startswith("the event loop gets no processor")
    assert context["queued_s"] > context["late_s"] / 2
    assert "stack" not in context


def test_how_long_a_thread_waited_for_a_processor_is_known_here() -> None:
    """More threads of their own processes than there are processors: some of them wait."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in os.sched_getaffinity(0)]
    try:
        before, ends_at = queued_s(threading.get_native_id()), time.perf_counter() + WAIT_S
        while queued_s(threading.get_native_id()) <= before:
            assert time.perf_counter() < ends_at, "the system does not count it"
    finally:
        for one in busy:
            one.kill()
            one.wait()
    assert queued_s(0) == 0.0, "of no thread at all"


async def test_each_stall_is_told_once_and_its_end_too(log: HeardLog) -> None:
    metrics = MemoryMetrics()
    watchdog = Watchdog(log, metrics, stall_s=0.05, beat_s=0.01)
    watchdog.start()
    try:
        for count in (1, 2):
            block(log.blocked)
            log.blocked.clear()
            assert not log.blocked.wait(0.3), "it is told once, however long it takes"
            await asyncio.get_running_loop().run_in_executor(None, block, log.goes_on)
            log.goes_on.clear()
            assert metrics.value(metric.LOOP_STALLS) == count
            assert watchdog.stalls is not None
            assert (watchdog.stalls.count, watchdog.stalls.last_s >= 0.3) == (count, True)
    finally:
        watchdog.stop()
    assert [message.split(":")[0] for message, _ in log.lines] == [
        "the event loop is blocked",
        "the event loop goes on",
    ] * 2


async def test_a_process_that_stood_still_as_a_whole_is_no_fault_of_its_loop(log: HeardLog) -> None:
    """Stopped and continued, or on a machine that slept: the thread overslept as much as the loop did."""
    offset = 0.0
    real = asyncio.get_running_loop().time

    def now() -> float:
        return real() + offset

    watchdog = Watchdog(log, MemoryMetrics(), stall_s=5.0, beat_s=0.01, now=now)
    watchdog._stop = _Overslept(lambda: move(100.0))  # type: ignore[assignment]

    def move(seconds: float) -> None:
        nonlocal offset
        offset += seconds

    watchdog.start()
    stop = watchdog._stop
    await asyncio.get_running_loop().run_in_executor(None, stop.slept.wait, WAIT_S)  # type: ignore[attr-defined]
    watchdog.stop()
    assert log.lines == []


class _Overslept:
    """A wait that takes much longer than was asked for, twice; then the thread is told to end."""

    def __init__(self, oversleep: Any) -> None:
        self._oversleep = oversleep
        self._times = 0
        self.slept = threading.Event()

    def wait(self, timeout_s: float) -> bool:
        self._times += 1
        self._oversleep()
        if self._times == 3:
            self.slept.set()
            return True
        return False

    def is_set(self) -> bool:
        return self._times >= 3

    def set(self) -> None: ...


async def test_it_ends_with_its_stop_and_without_a_limit_does_not_begin() -> None:
    log = HeardLog()
    before = threading.active_count()
    idle = Watchdog(log, MemoryMetrics(), stall_s=0)
    idle.start()
    assert threading.active_count() == before
    idle.stop()
    watchdog = Watchdog(log, MemoryMetrics(), stall_s=0.05, beat_s=0.01)
    watchdog.start()
    [thread] = [one for one in threading.enumerate() if one.name == "watchdog"]
    assert thread.daemon, "it keeps no process from ending"
    watchdog.stop()
    watchdog.stop()
    await asyncio.get_running_loop().run_in_executor(None, thread.join, WAIT_S)
    assert not thread.is_alive()


class Work(Contract, frozen=True):
    name: str = "x"


async def test_a_worker_tells_of_a_handler_that_blocks_and_shows_it() -> None:
    module, log = Module("mod", kind="job", summary="A module."), HeardLog()

    @module.job("run.blocking", Work)
    async def blocking(work: Work) -> None:
        block(log.blocked)

    async with harness(module, log=log, loop_stall_s=0.2) as running:
        await running.job("run.blocking", Work())
        report = await Readiness(running.worker).report()
        assert running.metrics.value(metric.LOOP_STALLS) >= 1
    assert report.loop is not None
    assert report.loop.count >= 1
    [context, *_] = [context for message, context in log.lines if message.startswith("the event loop is blocked")]
    assert "in blocking" in context["stack"]
