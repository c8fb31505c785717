"""What the desk, the dead letters and the ledger itself promise."""

from __future__ import annotations

from datetime import timedelta

import pytest

from contracts.errors import Conflict, NotFound
from contracts.job import JobState
from contracts.outcome import Dead, Release
from contracts.ports.ledger import JobFilter
from tests.conformance.ledger_world import ADDRESS, World, ids, listening


async def unknown_jobs_are_told(world: World) -> None:
    desk = world.ledger.desk
    assert await desk.get("x") is None
    with pytest.raises(NotFound, match="'x'"):
        await desk.cancel("x")
    with pytest.raises(NotFound, match="'x'"):
        await desk.retry("x")


async def pages_go_from_the_newest(world: World) -> None:
    for n in range(3):
        await world.record(*(f"j{n}{m}" for m in range(4)))
    everything = ids(await world.ledger.desk.list(JobFilter()))
    assert everything == sorted(everything, reverse=True)
    paged: list[str] = []
    wanted = JobFilter(limit=5)
    while page := await world.ledger.desk.list(wanted):
        paged += ids(page)
        wanted = JobFilter(limit=5, before=(page[-1].recorded_at, page[-1].id))
    assert paged == everything


async def pages_are_filtered(world: World) -> None:
    await world.started("a", correlation_id="c1")
    await world.record("b", correlation_id="c1", body=b"not json \xff")
    await world.record("c", address="run.other", correlation_id="c2")
    desk = world.ledger.desk
    assert ids(await desk.list(JobFilter(states=(JobState.QUEUED,)))) == ["c", "b"]
    assert ids(await desk.list(JobFilter(states=(JobState.RUNNING, JobState.DONE)))) == ["a"]
    assert ids(await desk.list(JobFilter(address=ADDRESS))) == ["b", "a"]
    assert ids(await desk.list(JobFilter(correlation_id="c1", states=(JobState.QUEUED,)))) == ["b"]
    assert await desk.list(JobFilter(correlation_id="c1", address="run.other")) == []
    assert "not json" in (await world.row("b")).command


async def jobs_are_counted(world: World) -> None:
    assert await world.ledger.desk.counts() == {}
    await world.started("a")
    await world.record("b", "c")
    await world.record("d", address="run.other")
    assert await world.ledger.desk.counts() == {
        (ADDRESS, JobState.RUNNING): 1,
        (ADDRESS, JobState.QUEUED): 2,
        ("run.other", JobState.QUEUED): 1,
    }


async def cancelling(world: World) -> None:
    desk = world.ledger.desk
    claim = await world.started("a")
    await world.record("b")
    assert await desk.cancel("b") is JobState.CANCELLED
    assert await desk.cancel("b") is JobState.CANCELLED
    row = await world.row("b")
    assert row.finished_at is not None
    assert row.cancel_requested_at is not None
    assert await world.claim() == []
    assert await desk.cancel("a") is JobState.RUNNING
    asked_at = (await world.row("a")).cancel_requested_at
    assert await desk.cancel("a") is JobState.RUNNING
    assert (await world.row("a")).cancel_requested_at == asked_at
    await world.settle(claim)
    with pytest.raises(Conflict, match="job a is done"):
        await desk.cancel("a")


async def trying_again_by_hand(world: World) -> None:
    desk = world.ledger.desk
    claim = await world.started("a")
    await world.ledger.queue.checkpoint(claim, b'{"at": 3}')
    with pytest.raises(Conflict, match="job a is running"):
        await desk.retry("a")
    await world.settle(claim, Dead(reason="r", traceback="tb"))
    async with listening(world.twin) as woken:
        await desk.retry("a")
        await woken()
    row = await world.row("a")
    assert (row.state, row.attempt, row.error, row.traceback, row.finished_at) == (JobState.QUEUED, 0, None, None, None)
    with pytest.raises(Conflict, match="job a is queued"):
        await desk.retry("a")
    claim = await world.claim_one()
    assert (claim.attempt, claim.checkpoint) == (1, b'{"at": 3}')
    await desk.cancel("a")
    await world.settle(claim, Release(reason="drain"))
    await desk.retry("a")
    assert (await world.row("a")).cancel_requested_at is None
    claim = await world.claim_one()
    await world.settle(claim, Release(reason="drain"))
    assert (await world.row("a")).state is JobState.QUEUED


async def trying_again_waits_for_its_key(world: World) -> None:
    claim = await world.started("a", unique_key="k", unique_skip=True)
    await world.settle(claim, Dead(reason="r"))
    await world.record("b", unique_key="k", unique_skip=True)
    with pytest.raises(Conflict, match="waits for job b"):
        await world.ledger.desk.retry("a")
    await world.settle(await world.claim_one())
    await world.ledger.desk.retry("a")


async def the_old_are_pruned(world: World) -> None:
    await world.join()
    await world.record(*(f"old{n}" for n in range(5)))
    await world.record("still")
    for claim in await world.claim(slots=5):
        await world.settle(claim)
    running = await world.claim_one()
    await world.age(7200)
    await world.record("young")
    await world.ledger.desk.cancel("young")
    hour = timedelta(hours=1)
    assert await world.ledger.desk.prune(keep=timedelta(hours=3)) == 0
    assert [await world.ledger.desk.prune(keep=hour, batch=3) for _ in range(3)] == [3, 2, 0]
    assert sorted(ids(await world.ledger.desk.list(JobFilter()))) == ["still", "young"]
    await world.settle(running)
    assert await world.ledger.desk.prune(keep=hour) == 0, "it has only just ended"


async def it_has_an_identity_and_a_life(world: World) -> None:
    identity = await world.ledger.identity()
    assert identity == await world.twin.identity()
    assert len(identity) >= 16
    await world.ledger.open()
    await world.ledger.check()
    assert world.ledger.address
    await world.ledger.close()
    await world.ledger.close()
    await world.ledger.open()
    await world.record("a")
    assert await world.ledger.identity() == identity


PROMISES = [
    unknown_jobs_are_told,
    pages_go_from_the_newest,
    pages_are_filtered,
    jobs_are_counted,
    cancelling,
    trying_again_by_hand,
    trying_again_waits_for_its_key,
    the_old_are_pruned,
    it_has_an_identity_and_a_life,
]
