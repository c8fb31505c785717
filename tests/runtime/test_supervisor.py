"""The drain: one deadline for all of it, in an order that loses nothing, and a report of every id."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from adapters.clock.manual import ManualClock
from adapters.log.structured import make_log
from adapters.metrics.memory import MemoryMetrics
from contracts import metrics as metric
from runtime.policy.drain import Phase
from runtime.supervisor import CUT_GRACE_S, DrainReport, Fate, Step, Supervisor
from runtime.tasks import Tasks

pytestmark = pytest.mark.anyio


class FakeWork:
    """Work of one kind: it ends after `ends_after_s`, or `stops_after_s` it was asked to, or when it is cut."""

    def __init__(self, clock: ManualClock, *ids: str, said: list[str]) -> None:
        self.clock = clock
        self.ids = list(ids)
        self.said = said
        self.over = asyncio.Event()
        self.fates: dict[str, Fate] = {}
        self.stops_when_asked = False
        self.stops_when_cut = True
        if not ids:
            self.over.set()

    def end(self, fate: Fate) -> None:
        self.fates = dict.fromkeys(self.ids, fate)
        self.over.set()

    def in_flight(self) -> list[str]:
        return list(self.ids)

    async def finished(self) -> None:
        await self.over.wait()

    def ask_to_stop(self) -> None:
        self.said.append(f"asked at {self.clock.monotonic():g}")
        if self.stops_when_asked:
            self.end("checkpointed")

    def cut(self) -> None:
        self.said.append(f"cut at {self.clock.monotonic():g}")
        if self.stops_when_cut and not self.over.is_set():
            self.end("requeued")

    def fate(self, work_id: str) -> Fate:
        return self.fates.get(work_id, "abandoned")


class Drain:
    """A supervisor with a drain that writes down what happens, on a clock that the test turns."""

    def __init__(self, clock: ManualClock, *, timeout_s: float = 20.0) -> None:
        self.clock = clock
        self.said: list[str] = []
        self.text = io.StringIO()
        self.metrics = MemoryMetrics()
        log = make_log(clock=clock, stream=self.text)
        self.supervisor = Supervisor(timeout_s=timeout_s, clock=clock, log=log, metrics=self.metrics)
        self.supervisor.enter(Phase.RUNNING)
        self.work: list[FakeWork] = []
        self.intake = self.step("intake")
        self.hooks: list[Step] = []
        self.close: list[Step] = [self.step("close")]
        self._tasks = Tasks()

    def working(self, *ids: str) -> FakeWork:
        work = FakeWork(self.clock, *ids, said=self.said)
        self.work.append(work)
        return work

    def step(self, name: str, act: Callable[[], Awaitable[None]] | None = None) -> Step:
        async def acted() -> None:
            self.said.append(f"{name} in {self.supervisor.phase.name}")
            if act:
                await act()

        return name, acted

    def begin(self) -> asyncio.Task[DrainReport]:
        draining = self.supervisor.drain([*self.work], stop_intake=self.intake, hooks=self.hooks, close=self.close)
        return self._tasks.start(draining, name="drain")

    async def drained(self) -> DrainReport:
        draining = self.begin()
        await self.clock.advance(120.0)
        assert draining.done()
        return draining.result()


@pytest.fixture
def drain(clock: ManualClock) -> Drain:
    return Drain(clock)


def waiting(clock: ManualClock, seconds: float) -> Callable[[], Awaitable[None]]:
    return lambda: clock.sleep(seconds)


async def test_with_nothing_in_flight_it_is_over_at_once_in_order(drain: Drain) -> None:
    drain.hooks = [drain.step("second hook"), drain.step("first hook")]
    drain.close = [drain.step("commit"), drain.step("adapters")]
    drain.supervisor.stop("SIGTERM")
    report = await drain.drained()
    assert drain.said == [
        "intake in DRAINING",
        "second hook in DRAINING",
        "first hook in DRAINING",
        "commit in CLOSING",
        "adapters in CLOSING",
    ]
    assert report == DrainReport(reason="SIGTERM", seconds=0.0, fates={}, faults=[])
    assert report.clean
    assert drain.supervisor.phase is Phase.CLOSED
    assert drain.metrics.value(metric.DRAIN_PHASE) == Phase.CLOSED


async def test_what_finishes_in_time_is_left_alone(drain: Drain, clock: ManualClock) -> None:
    jobs, streams = drain.working("job"), drain.working("message")
    draining = drain.begin()
    await clock.advance(10.0)
    jobs.end("finished")
    await clock.advance(1.0)
    assert not draining.done(), "all kinds are waited for"
    streams.end("finished")
    await clock.advance(0.0)
    report = draining.result()
    assert report.fates == {"job": "finished", "message": "finished"}
    assert (report.clean, report.seconds) == (True, 11.0)
    assert drain.said == ["intake in DRAINING", "close in CLOSING"]


async def test_what_is_late_is_asked_and_then_cut_at_the_one_deadline(drain: Drain) -> None:
    drain.working("asked").stops_when_asked = True
    drain.working("cut")
    report = await drain.drained()
    assert drain.said[1:5] == ["asked at 16", "asked at 16", "cut at 20", "cut at 20"]
    assert report.fates == {"asked": "checkpointed", "cut": "requeued"}
    assert (report.clean, report.seconds) == (False, 20.0)


async def test_what_does_not_even_end_when_it_is_cut_is_abandoned_and_told(drain: Drain) -> None:
    drain.working("stuck").stops_when_cut = False
    report = await drain.drained()
    assert report.fates == {"stuck": "abandoned"}
    assert report.seconds == 20.0 + CUT_GRACE_S
    assert "close in CLOSING" in drain.said, "what comes after it is done all the same"


async def test_a_second_signal_cuts_at_once(drain: Drain, clock: ManualClock) -> None:
    drain.working("job")
    drain.supervisor.stop("SIGTERM")
    draining = drain.begin()
    await clock.advance(3.0)
    drain.supervisor.stop("SIGTERM")
    drain.supervisor.stop("a third one changes nothing")
    await clock.advance(0.0)
    report = draining.result()
    assert (report.reason, report.seconds, report.fates) == ("SIGTERM", 3.0, {"job": "requeued"})
    assert drain.said[1:3] == ["asked at 3", "cut at 3"]


async def test_two_signals_before_the_drain_began_cut_it_as_soon_as_it_begins(drain: Drain) -> None:
    drain.working("job")
    drain.supervisor.stop("SIGTERM")
    drain.supervisor.stop("SIGTERM")
    report = await drain.drained()
    assert (report.fates, report.seconds) == ({"job": "requeued"}, 0.0)
    assert drain.said[0] == "intake in DRAINING"


async def test_a_step_that_fails_is_told_and_stops_none_of_those_after_it(drain: Drain) -> None:
    async def failing() -> None:
        raise RuntimeError("no")

    async def cancelled() -> None:
        raise asyncio.CancelledError

    drain.hooks = [drain.step("bad hook", failing), drain.step("odd hook", cancelled), drain.step("good hook")]
    report = await drain.drained()
    assert report.faults == ["bad hook: RuntimeError('no')", "odd hook: waited for something that was cancelled"]
    assert not report.clean
    assert drain.said[-2:] == ["good hook in DRAINING", "close in CLOSING"]
    assert "bad hook" in drain.text.getvalue()


async def test_a_step_that_does_not_end_is_cut_at_the_deadline(drain: Drain, clock: ManualClock) -> None:
    drain.hooks = [drain.step("slow hook", waiting(clock, 1e6))]
    report = await drain.drained()
    assert report.faults == ["slow hook: did not end by the deadline"]
    assert report.seconds == 20.0


async def test_hooks_have_a_little_time_although_the_work_took_it_all(drain: Drain, clock: ManualClock) -> None:
    drain.working("late")
    drain.hooks = [drain.step("hook", waiting(clock, 3.0))]
    report = await drain.drained()
    assert (report.faults, report.seconds) == ([], 23.0)


async def test_a_second_signal_leaves_a_hanging_step_little_time(clock: ManualClock) -> None:
    drain = Drain(clock, timeout_s=1000.0)
    drain.hooks = [drain.step("hook", waiting(clock, 1e6))]
    drain.supervisor.stop("SIGTERM")
    draining = drain.begin()
    await clock.advance(100.0)
    drain.supervisor.stop("SIGTERM")
    await clock.advance(60.0)
    report = draining.result()
    assert report.faults == ["hook: did not end by the deadline"]
    assert report.seconds == 100.0 + 2 * CUT_GRACE_S


async def test_a_second_signal_ends_an_intake_that_hangs(clock: ManualClock) -> None:
    drain = Drain(clock, timeout_s=1000.0)
    drain.intake = drain.step("intake", waiting(clock, 1e6))
    drain.working("job")
    drain.supervisor.stop("SIGTERM")
    draining = drain.begin()
    await clock.advance(10.0)
    drain.supervisor.stop("SIGTERM")
    await clock.advance(2.0)
    report = draining.result()
    assert report.faults == ["intake: did not end by the deadline"]
    assert (report.fates, report.seconds) == ({"job": "requeued"}, 11.0)


async def test_the_first_reason_is_the_reason(drain: Drain) -> None:
    drain.supervisor.stop("a loop crashed too often", failed=True)
    drain.supervisor.stop("SIGTERM")
    assert (drain.supervisor.reason, drain.supervisor.failed) == ("a loop crashed too often", True)
    lines = [msgspec.json.decode(line) for line in drain.text.getvalue().splitlines()]
    assert [line["message"] for line in lines] == ["asked to stop again: what still runs is cut now"]


def test_a_report_is_clean_only_when_nothing_was_cut() -> None:
    def report(*fates: Fate, faults: list[str] | None = None) -> DrainReport:
        named = {str(number): fate for number, fate in enumerate(fates)}
        return DrainReport(reason="r", seconds=1.0, fates=named, faults=faults or [])

    assert report().clean
    assert report("finished", "finished").clean
    others: tuple[Fate, ...] = ("requeued", "checkpointed", "cancelled", "abandoned")
    for fate in others:
        assert not report("finished", fate).clean
    assert not report("finished", faults=["hook: no"]).clean
