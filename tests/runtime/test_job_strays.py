"""Jobs whose claim was never heard of: their worker lives and does not run them, so it puts them back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from adapters.clock.manual import ManualClock
from adapters.ledger.memory import MemoryLedger
from contracts.errors import Unavailable
from contracts.job import Claim, Job, JobState, NewJob
from contracts.message import Contract, Envelope
from contracts.module import Module
from contracts.ports import Clock
from tests.kit.harness import Running, harness

pytestmark = pytest.mark.anyio


class Work(Contract, frozen=True):
    takes_s: float = 0.0


class Jobs:
    """A module with one job, of which two run side by side."""

    def __init__(self) -> None:
        self.module = Module("jobs", kind="job", summary="Does jobs.")
        self.began: list[str] = []

        @self.module.job("run.work", Work, concurrency=2)
        async def run(work: Work, job: Job, clock: Clock) -> int:
            self.began.append(job.id)
            await clock.sleep(work.takes_s)
            return job.attempt


class Deaf(MemoryLedger):
    """What it does for the next few calls that may claim is done, and nobody hears of it."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.claims, self.records, self.looks = 0, 0, 0
        self._claim, self._record, self._strays = self.queue.claim, self.queue.record, self.queue.strays
        self.queue.claim = self._claim_unheard  # type: ignore[method-assign]
        self.queue.record = self._record_unheard  # type: ignore[method-assign]
        self.queue.strays = self._strays_unheard  # type: ignore[method-assign]

    async def _claim_unheard(self, worker_id: str, slots: Mapping[str, int], **more: Any) -> list[Claim]:
        claims = await self._claim(worker_id, slots, **more)
        if claims and self.claims:
            self.claims -= 1
            raise Unavailable("the ledger", "it was cut off")
        return claims

    async def _record_unheard(self, jobs: Sequence[Any], **more: Any) -> Any:
        recorded = await self._record(jobs, **more)
        if self.records:
            self.records -= 1
            raise Unavailable("the ledger", "it was cut off")
        return recorded

    async def _strays_unheard(self, worker_id: str, known: Sequence[Claim]) -> list[Claim]:
        if self.looks:
            self.looks -= 1
            raise Unavailable("the ledger", "it was cut off")
        return await self._strays(worker_id, known)


async def publish(running: Running, id_: str) -> None:
    """Without waiting until it is recorded: that takes the clock to go on."""
    await running.bus.publish(Envelope(id=id_, address="run.work", body=b"{}"))


def queued(id_: str) -> NewJob:
    return NewJob(id=id_, address="run.work", body=b"{}")


@pytest.mark.parametrize("looks", [0, 2], ids=["heard at once", "the look is cut off too"])
async def test_a_job_whose_claim_was_never_heard_of_is_run(clock: ManualClock, looks: int) -> None:
    jobs, ledger = Jobs(), Deaf(clock)
    async with harness(jobs.module, clock=clock, ledger=ledger) as running:
        ledger.records, ledger.looks = 1, looks
        await publish(running, "recorded")
        assert (await running.ended("recorded")).claims == 2
        ledger.claims, ledger.looks = 1, looks
        await ledger.queue.record([queued("claimed")])
        row = await running.ended("claimed")
        assert (row.state, row.result, row.claims) == (JobState.DONE, 1, 2)
        told = [line for line in running.lines() if "never heard of" in line["message"]]
        assert [line["context"]["jobs"] for line in told] == [["recorded"], ["claimed"]]
    assert jobs.began == ["recorded", "claimed"]


async def test_what_runs_here_is_left_alone(clock: ManualClock) -> None:
    jobs, ledger = Jobs(), Deaf(clock)
    async with harness(jobs.module, clock=clock, ledger=ledger) as running:
        await running.start("run.work", Work(takes_s=60.0), id="long")
        ledger.records = 1
        await publish(running, "other")
        assert (await running.ended("other")).claims == 2
        assert (await running.ended("long")).claims == 1
    assert jobs.began == ["long", "other"]


async def test_a_claim_that_the_ledger_carried_out_late_is_found(clock: ManualClock) -> None:
    """Nothing was in doubt any more when it came: the look that comes now and then finds it."""
    jobs, ledger = Jobs(), MemoryLedger(clock)
    async with harness(jobs.module, clock=clock, ledger=ledger) as running:
        await ledger.queue.record([queued("late")], worker_id=running.worker.lease.worker_id, slots={"run.work": 1})
        assert (await running.ended("late")).state is JobState.DONE
    assert jobs.began == ["late"]
