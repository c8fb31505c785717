"""What any worker does for all: what is old is forgotten, what the dead held is put back, what there is is counted."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from adapters.clock.manual import ManualClock
from adapters.ledger.memory import MemoryLedger
from adapters.log.structured import make_log
from adapters.metrics.memory import MemoryMetrics
from contracts import metrics as metric
from contracts.job import JobState, NewJob
from contracts.outcome import Done
from contracts.ports.ledger import DeadLetter, LetterFilter, Settlement, Worker
from runtime.jobs.housekeeping import Housekeeping
from runtime.tasks import Tasks

pytestmark = pytest.mark.anyio

DAY = timedelta(days=1)


class House:
    """A ledger in memory with the loops that keep it."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.ledger = MemoryLedger(clock)
        self.metrics = MemoryMetrics()
        self.lines = io.StringIO()
        log = make_log(clock=clock, stream=self.lines)
        self.keeping = Housekeeping(self.ledger, clock, log, self.metrics)

    async def done(self, job_id: str) -> None:
        """A job that has ended now."""
        worker = Worker(id=f"worker of {job_id}", host="here", pid=1)
        await self.ledger.leases.join(worker, lease_s=60)
        job = NewJob(id=job_id, address="run.x", body=b"{}")
        [recorded] = await self.ledger.queue.record([job], worker_id=worker.id, slots={"run.x": 1})
        assert recorded.claim is not None
        await self.ledger.queue.settle([Settlement(claim=recorded.claim, outcome=Done(), result=b"1")])
        await self.ledger.leases.leave(worker.id)

    async def there_is(self, job_id: str) -> bool:
        return await self.ledger.desk.get(job_id) is not None


@pytest.fixture
async def house(clock: ManualClock) -> AsyncIterator[House]:
    made = House(clock)
    await made.ledger.open()
    yield made
    await made.ledger.close()


@asynccontextmanager
async def running(loop: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    tasks = Tasks()
    tasks.start(loop(), name="under test")
    try:
        yield
    finally:
        await tasks.stop()


async def test_ended_jobs_and_dead_letters_are_kept_for_their_retention_and_not_longer(
    house: House, clock: ManualClock
) -> None:
    await house.done("old")
    await house.ledger.dead_letters.bury([DeadLetter(id="old", address="a", reason="r", body=b"")])
    async with running(partial(house.keeping.prune, keep_jobs=2 * DAY, keep_letters=3 * DAY)):
        await clock.advance(DAY.total_seconds())
        await house.done("young")
        assert await house.there_is("old")
        await clock.advance(DAY.total_seconds() + 2000)
        assert not await house.there_is("old")
        assert await house.there_is("young")
        assert len(await house.ledger.dead_letters.list(LetterFilter())) == 1
        await clock.advance(DAY.total_seconds())
        assert await house.ledger.dead_letters.list(LetterFilter()) == []
        assert not await house.there_is("young")


async def test_a_queued_job_is_never_forgotten(house: House, clock: ManualClock) -> None:
    await house.ledger.queue.record([NewJob(id="waits", address="run.x", body=b"{}")])
    async with running(partial(house.keeping.prune, keep_jobs=DAY, keep_letters=DAY)):
        await clock.advance(3 * DAY.total_seconds())
    assert await house.there_is("waits")


async def test_a_backlog_of_old_jobs_is_deleted_in_batches(house: House, clock: ManualClock) -> None:
    for number in range(1_100):
        await house.done(f"job {number}")
    async with running(partial(house.keeping.prune, keep_jobs=DAY, keep_letters=DAY)):
        await clock.advance(DAY.total_seconds() + 2000)
    assert await house.ledger.desk.counts() == {}


async def test_jobs_of_a_worker_that_is_gone_are_put_back(house: House, clock: ManualClock) -> None:
    await house.ledger.leases.join(Worker(id="dead", host="here", pid=1), lease_s=15)
    await house.ledger.queue.record(
        [NewJob(id="one", address="run.x", body=b"{}")], worker_id="dead", slots={"run.x": 1}
    )
    async with running(partial(house.keeping.reap, every_s=5.0)):
        await clock.advance(14.0)
        row = await house.ledger.desk.get("one")
        assert row is not None
        assert row.state is JobState.RUNNING
        await clock.advance(10.0)
        row = await house.ledger.desk.get("one")
        assert row is not None
        assert row.state is JobState.QUEUED
    assert "one" in house.lines.getvalue()


async def test_jobs_are_counted_by_address_and_state(house: House, clock: ManualClock) -> None:
    await house.done("done")
    await house.ledger.queue.record([NewJob(id=str(n), address="run.x", body=b"{}") for n in range(3)])
    async with running(house.keeping.count):
        await clock.advance(1.0)
        assert house.metrics.value(metric.JOBS, address="run.x", state="queued") == 3
        assert house.metrics.value(metric.JOBS, address="run.x", state="done") == 1
        assert house.metrics.value(metric.JOBS, address="run.x", state="failed") == 0
