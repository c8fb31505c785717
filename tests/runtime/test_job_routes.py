"""Job routes from the command to the settled row, in the real worker on a ledger in memory."""

from __future__ import annotations

import asyncio

import pytest

from adapters.clock.manual import ManualClock
from adapters.ledger.memory import MemoryLedger
from contracts.errors import BadInput, Conflict, Unavailable
from contracts.job import Job, JobState, Progress
from contracts.message import Contract
from contracts.module import Module, Overrun, Retry
from contracts.ports import Clock, Log
from contracts.ports.ledger import Settlement
from tests.kit.harness import HarnessBus, JobFailed, Running, harness

pytestmark = pytest.mark.anyio


class Work(Contract, frozen=True):
    name: str = "x"
    takes_s: float = 0.0


class Worked(Contract, frozen=True):
    name: str
    attempt: int


async def idle(work: Work) -> None:
    """Has nothing to do."""


class Jobs:
    """A module with one job that fails as it is told, and says when it began and ended."""

    def __init__(
        self,
        *,
        retry: Retry | None = None,
        timeout_s: float = 1e6,
        concurrency: int = 4,
        unique: tuple[str, ...] = (),
        unique_skip: bool = False,
        overrun: Overrun = "checkpoint",
    ) -> None:
        self.module = Module("jobs", kind="job", summary="Does jobs.")
        self.began: list[str] = []
        self.ended: list[str] = []
        self.at: list[float] = []
        self.errors: list[BaseException] = []
        self.most = 0

        @self.module.job(
            "run.work",
            Work,
            retry=retry or Retry(attempts=3, first_s=1.0),
            timeout_s=timeout_s,
            concurrency=concurrency,
            unique=unique,
            unique_skip=unique_skip,
            overrun=overrun,
        )
        async def run(work: Work, job: Job, clock: Clock, log: Log) -> Worked:
            self.began.append(work.name)
            self.at.append(clock.monotonic())
            self.most = max(self.most, len(self.began) - len(self.ended))
            log.info("working")
            if self.errors:
                self.ended.append(work.name)
                raise self.errors.pop(0)
            try:
                await clock.sleep(work.takes_s)
            finally:
                self.ended.append(work.name)
            return Worked(name=work.name, attempt=job.attempt)


async def start(running: Running, *names: str, takes_s: float = 0.0, **options: object) -> list[str]:
    return [await running.start("run.work", Work(name=name, takes_s=takes_s), **options) for name in names]


async def test_a_job_returns_what_its_handler_returned_and_the_ledger_keeps_it(clock: ManualClock) -> None:
    jobs = Jobs()
    async with harness(jobs.module, clock=clock) as running:
        assert await running.job("run.work", Work(name="a"), id="one") == Worked(name="a", attempt=1)
        row = await running.ended("one")
    assert (row.state, row.result) == (JobState.DONE, {"name": "a", "attempt": 1})
    assert row.command == {"name": "a", "takes_s": 0.0}


async def test_a_job_that_was_published_before_is_not_done_again(clock: ManualClock) -> None:
    jobs = Jobs()
    async with harness(jobs.module, clock=clock) as running:
        for _ in range(2):
            await running.job("run.work", Work(), id="one")
    assert jobs.began == ["x"]


async def test_logs_carry_the_job(clock: ManualClock) -> None:
    async with harness(Jobs().module, clock=clock) as running:
        await running.job("run.work", Work(), id="one", correlation_id="origin")
        [line] = [line for line in running.lines() if line["message"] == "working"]
    assert (line["job_id"], line["correlation_id"], line["module"]) == ("one", "origin", "jobs")


# Failure.


async def test_a_failed_job_is_tried_again_after_a_growing_wait(clock: ManualClock) -> None:
    jobs = Jobs(retry=Retry(attempts=4, first_s=1.0, factor=3.0))
    jobs.errors = [RuntimeError("one"), RuntimeError("two")]
    async with harness(jobs.module, clock=clock) as running:
        assert (await running.job("run.work", Work())).attempt == 3
    first, second, third = jobs.at
    assert 0.1 <= second - first <= 1.0, "when it is due, not with the next look at the queue"
    assert 0.3 <= third - second <= 3.0


async def test_a_run_may_begin_before_the_last_one_of_its_job_was_seen_to_end(clock: ManualClock) -> None:
    jobs = Jobs(retry=Retry(attempts=2, first_s=0.001, max_s=0.001))
    jobs.errors = [RuntimeError("at first")]
    async with harness(jobs.module, clock=clock) as running:
        settler, dispatcher = running.worker.settler, running.worker.dispatcher
        settle = settler.settle

        async def settle_slowly(settlement: Settlement) -> bool:
            settled = await settle(settlement)
            await clock.sleep(0.1)
            dispatcher.left_queued()
            await clock.sleep(1.0)
            return settled

        settler.settle = settle_slowly  # type: ignore[method-assign]
        assert (await running.job("run.work", Work(takes_s=5.0))).attempt == 2
        assert len(jobs.at) == 2
        assert jobs.at[1] - jobs.at[0] < 1.0, "else this shows nothing"


async def test_after_its_attempts_it_has_failed_with_all_that_is_known(clock: ManualClock) -> None:
    jobs = Jobs(retry=Retry(attempts=2, first_s=1.0))
    jobs.errors = [RuntimeError("one"), RuntimeError("two")]
    async with harness(jobs.module, clock=clock) as running:
        with pytest.raises(JobFailed, match="two") as failed:
            await running.job("run.work", Work())
    row = failed.value.row
    assert (row.state, row.attempt, row.error) == (JobState.FAILED, 2, "failed 2 times: RuntimeError: two")
    assert "in run" in (row.traceback or "")


async def test_what_can_never_succeed_is_not_tried_again(clock: ManualClock) -> None:
    jobs = Jobs()
    jobs.errors = [BadInput(["this is wrong", "and that"])]
    async with harness(jobs.module, clock=clock) as running:
        with pytest.raises(JobFailed, match="this is wrong\nand that"):
            await running.job("run.work", Work())
    assert len(jobs.began) == 1


async def test_a_dependency_that_is_down_uses_up_no_attempt(clock: ManualClock) -> None:
    jobs = Jobs(retry=Retry(attempts=1))
    jobs.errors = [Unavailable("the database", "it is down") for _ in range(5)]
    async with harness(jobs.module, clock=clock) as running:
        assert (await running.job("run.work", Work())).attempt == 1
    assert len(jobs.began) == 6


async def test_a_job_that_takes_too_long_is_ended(clock: ManualClock) -> None:
    jobs = Jobs(timeout_s=60.0, retry=Retry(attempts=1))
    async with harness(jobs.module, clock=clock) as running:
        with pytest.raises(JobFailed, match="the handler did not end within 60 s"):
            await running.job("run.work", Work(takes_s=3600))
    assert jobs.ended == ["x"]


async def test_a_handler_that_is_cancelled_by_nobody_has_failed(clock: ManualClock) -> None:
    jobs = Jobs(retry=Retry(attempts=2, first_s=1.0))
    jobs.errors = [asyncio.CancelledError(), asyncio.CancelledError()]
    async with harness(jobs.module, clock=clock) as running:
        with pytest.raises(JobFailed, match="waited for something that was cancelled"):
            await running.job("run.work", Work())


async def test_a_failed_job_can_be_queued_again_by_hand(clock: ManualClock) -> None:
    jobs = Jobs(retry=Retry(attempts=1))
    jobs.errors = [RuntimeError("no")]
    async with harness(jobs.module, clock=clock) as running:
        with pytest.raises(JobFailed):
            await running.job("run.work", Work(), id="one")
        await running.ledger.desk.retry("one")
        assert (await running.ended("one")).state is JobState.DONE
        with pytest.raises(Conflict):
            await running.ledger.desk.retry("one")


async def test_a_result_that_cannot_be_kept_fails_the_job_and_says_why(clock: ManualClock) -> None:
    module = Module("odd", kind="job", summary="Returns what is no data.")

    @module.job("run.odd", Work)
    async def run(work: Work) -> object:
        return object()

    async with harness(module, clock=clock) as running:
        row = await running.ended(await running.start("run.odd", Work()))
    assert row.state is JobState.FAILED
    assert "return a Struct or plain data" in (row.error or "")


# Which one, and when.


async def test_a_delayed_job_waits_for_its_time(clock: ManualClock) -> None:
    jobs = Jobs()
    async with harness(jobs.module, clock=clock) as running:
        await running.job("run.work", Work(), delay_s=20.0)
    [began_at] = jobs.at
    assert 20.0 <= began_at <= 20.2, "and no longer than the wait for the next look"


async def test_the_higher_priority_goes_first(clock: ManualClock) -> None:
    jobs = Jobs(concurrency=1)
    async with harness(jobs.module, clock=clock) as running:
        await start(running, "busy", takes_s=10.0)
        await start(running, "low", priority=-1)
        await start(running, "normal")
        await start(running, "high", priority=5)
        await running.settled()
    assert jobs.began == ["busy", "high", "normal", "low"]


async def test_waiting_makes_up_for_a_lower_priority(clock: ManualClock) -> None:
    jobs = Jobs(concurrency=1)
    async with harness(jobs.module, clock=clock) as running:
        await start(running, "busy", takes_s=65.0)
        await start(running, "early")
        await clock.advance(61.0)
        await start(running, "later, by one point of priority", priority=1)
        await running.settled()
    assert jobs.began[1] == "early", "one point is worth a minute"


async def test_no_more_run_at_once_than_the_route_allows(clock: ManualClock) -> None:
    jobs = Jobs(concurrency=2)
    async with harness(jobs.module, clock=clock) as running:
        await start(running, *map(str, range(7)), takes_s=1.0)
        await running.settled()
    assert (jobs.most, len(jobs.ended)) == (2, 7)


async def test_no_more_run_at_once_than_the_process_has_slots(clock: ManualClock) -> None:
    jobs = Jobs(concurrency=100)
    async with harness(jobs.module, clock=clock, job_slots=3) as running:
        await start(running, *map(str, range(10)), takes_s=1.0)
        await running.settled()
    assert (jobs.most, len(jobs.ended)) == (3, 10)


async def test_a_slot_that_is_free_is_offered_to_every_route(clock: ManualClock) -> None:
    """With fewer slots than routes some are not asked: that the others have nothing says nothing of them."""
    jobs = Jobs()
    for number in range(5):
        jobs.module.job(f"run.other_{number}", Work)(idle)
    async with harness(jobs.module, clock=clock, job_slots=1) as running:
        began_at = clock.monotonic()
        await start(running, *map(str, range(9)), takes_s=1.0)
        await running.settled()
    assert len(jobs.ended) == 9
    assert jobs.at[-1] - began_at < 9.0, "none waited until all was looked at again"


# Unique keys.


async def test_of_one_unique_key_one_runs_at_a_time(clock: ManualClock) -> None:
    jobs = Jobs(unique=("name",))
    async with harness(jobs.module, clock=clock) as running:
        await start(running, "same", "same", "other", takes_s=1.0)
        await running.settled()
    assert sorted(jobs.ended) == ["other", "same", "same"]
    assert jobs.most == 2
    same = [at for name, at in zip(jobs.began, jobs.at, strict=True) if name == "same"]
    assert same[1] - same[0] >= 1.0


async def test_a_command_can_be_skipped_while_its_unique_key_is_active(clock: ManualClock) -> None:
    jobs = Jobs(unique=("name",), unique_skip=True)
    async with harness(jobs.module, clock=clock) as running:
        first, second, other = await start(running, "same", "same", "other", takes_s=1.0)
        await running.settled()
        row = await running.ended(second)
        assert row.state is JobState.SKIPPED
        assert first in (row.error or "")
        assert (await running.ended(other)).state is JobState.DONE
        [third] = await start(running, "same")
        assert (await running.ended(third)).state is JobState.DONE, "the key is free again"
    assert jobs.began.count("same") == 2


# Being stopped.


async def test_a_waiting_job_is_cancelled_at_once(clock: ManualClock) -> None:
    jobs = Jobs()
    async with harness(jobs.module, clock=clock) as running:
        [job_id] = await start(running, "later", delay_s=60.0)
        assert await running.ledger.desk.cancel(job_id) is JobState.CANCELLED
        await clock.advance(120.0)
    assert jobs.began == []


async def test_a_running_job_is_asked_to_stop_and_stops(clock: ManualClock) -> None:
    jobs = Jobs()
    async with harness(jobs.module, clock=clock) as running:
        [job_id] = await start(running, "long", takes_s=3600.0)
        assert await running.ledger.desk.cancel(job_id) is JobState.RUNNING
        row = await running.ended(job_id)
    assert row.state is JobState.CANCELLED
    assert jobs.ended == ["long"]
    assert clock.monotonic() < 10.0


class Steps:
    """A job in steps, with a checkpoint after each."""

    def __init__(self, *, overrun: Overrun, steps: int = 100, step_s: float = 1.0) -> None:
        self.module = Module("steps", kind="job", summary="Does steps.")
        self.done: list[int] = []

        @self.module.job("run.steps", Work, overrun=overrun, timeout_s=1e6)
        async def run(_: Work, job: Job, clock: Clock) -> int:
            for step in range(job.saved(int) or 0, steps):
                await clock.sleep(step_s)
                self.done.append(step)
                job.progress(Progress(rows=step + 1, total_rows=steps))
                await job.checkpoint(step + 1)
            return steps


async def test_progress_is_seen_while_it_runs(clock: ManualClock) -> None:
    steps = Steps(overrun="checkpoint", steps=10)
    async with harness(steps.module, clock=clock) as running:
        job_id = await running.start("run.steps", Work())
        row = await running.job_is(job_id, lambda row: row.progress is not None and row.progress.rows >= 3)
        assert row.state is JobState.RUNNING
        ended = await running.ended(job_id)
    assert ended.progress == Progress(rows=10, total_rows=10)


async def test_at_the_end_of_a_drain_a_job_stops_at_its_checkpoint_and_goes_on_elsewhere(clock: ManualClock) -> None:
    first, second = Steps(overrun="checkpoint"), Steps(overrun="checkpoint")
    ledger = MemoryLedger(clock)
    async with harness(first.module, clock=clock, ledger=ledger, drain_timeout_s=20) as running:
        job_id = await running.start("run.steps", Work(), id="one")
        report = await running.stop()
    assert report.fates == {job_id: "checkpointed"}
    assert 16 <= report.seconds <= 18, "it was asked a fifth before the deadline, and stopped at its next checkpoint"
    assert not report.clean
    async with harness(second.module, clock=clock, ledger=ledger, bus=HarnessBus(clock)) as running:
        row = await running.ended(job_id)
    assert (row.state, row.result, row.attempt) == (JobState.DONE, 100, 1), "no attempt was used up"
    assert first.done + second.done == list(range(100)), "each step once"


async def test_a_job_without_checkpoints_is_cut_at_the_deadline_and_runs_again(clock: ManualClock) -> None:
    first, second = Jobs(overrun="requeue"), Jobs()
    ledger = MemoryLedger(clock)
    async with harness(first.module, clock=clock, ledger=ledger, drain_timeout_s=20) as running:
        [job_id] = await start(running, "long", takes_s=100.0)
        report = await running.stop()
    assert report.fates == {job_id: "requeued"}
    assert 20 <= report.seconds <= 21
    async with harness(second.module, clock=clock, ledger=ledger) as running:
        assert (await running.ended(job_id)).state is JobState.DONE
    assert (first.began, second.began) == (["long"], ["long"])


async def test_a_route_can_end_its_jobs_for_good_at_the_deadline(clock: ManualClock) -> None:
    jobs, ledger = Jobs(overrun="cancel"), MemoryLedger(clock)
    async with harness(jobs.module, clock=clock, ledger=ledger, drain_timeout_s=20) as running:
        [job_id] = await start(running, "long", takes_s=100.0)
        report = await running.stop()
    assert report.fates == {job_id: "cancelled"}
    row = await ledger.desk.get(job_id)
    assert row is not None
    assert row.state is JobState.CANCELLED


async def test_a_job_that_ends_while_draining_is_no_loss(clock: ManualClock) -> None:
    jobs = Jobs()
    async with harness(jobs.module, clock=clock) as running:
        [job_id] = await start(running, "short", takes_s=5.0)
        report = await running.stop()
    assert (report.clean, report.fates) == (True, {job_id: "finished"})


async def test_what_is_queued_stays_queued_for_others(clock: ManualClock) -> None:
    first, second, ledger = Jobs(concurrency=1), Jobs(), MemoryLedger(clock)
    async with harness(first.module, clock=clock, ledger=ledger) as running:
        ids = await start(running, "a", "b", "c", takes_s=5.0)
        assert (await running.stop()).clean
    assert first.began == ["a"]
    async with harness(second.module, clock=clock, ledger=ledger) as running:
        for job_id in ids:
            assert (await running.ended(job_id)).state is JobState.DONE
    assert sorted(second.began) == ["b", "c"]
