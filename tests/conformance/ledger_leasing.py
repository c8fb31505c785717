"""What leases promise."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from contracts.job import JobState
from contracts.outcome import Done
from contracts.ports.ledger import CRASH_CAP, Worker
from tests.conformance.ledger_world import ADDRESS, World, ids, job, listening


async def the_living_are_listed(world: World) -> None:
    leases = world.ledger.leases
    assert await leases.workers() == []
    about: dict[str, Any] = {"version": "1.2", "schema": 9, "contracts": {"run.a": "5eed"}}
    row = Worker(id="w1", host="h", pid=7, modules=("a", "b"), http="127.0.0.1:80", **about)
    await leases.join(row, lease_s=60)
    await world.join("w2", lease_s=1)
    await world.record("a", "b")
    await world.claim()
    listed = {worker["id"]: worker for worker in await world.twin.leases.workers()}
    assert listed["w1"]["running"] == 2
    assert listed["w2"]["running"] == 0
    known = {name: listed["w1"][name] for name in ("host", "pid", "modules", "http", *about)}
    assert known == {"host": "h", "pid": 7, "modules": ("a", "b"), "http": "127.0.0.1:80", **about}
    assert (listed["w1"]["lease_until"] - listed["w1"]["started_at"]).total_seconds() >= 59
    await world.age(2)
    assert [worker["id"] for worker in await leases.workers()] == ["w1"]


async def a_lease_is_kept_by_renewing(world: World) -> None:
    await world.started()
    for _ in range(3):
        await world.age(40)
        assert await world.ledger.leases.renew("w1", lease_s=60)
    assert await world.ledger.leases.reap() == []
    assert not await world.ledger.leases.renew("stranger", lease_s=60)


async def a_late_renewal_holds_while_nobody_took_the_lease(world: World) -> None:
    claim = await world.started()
    await world.age(100)
    assert await world.claim() == []
    assert await world.ledger.leases.renew("w1", lease_s=60)
    assert await world.twin.leases.reap() == []
    assert await world.settle(claim)


async def the_jobs_of_the_dead_are_put_back(world: World) -> None:
    await world.started("a")
    await world.join("w2")
    await world.record("b")
    await world.claim("w2")
    await world.age(61)
    assert await world.ledger.leases.renew("w2", lease_s=60)
    async with listening(world.ledger) as woken:
        assert await world.twin.leases.reap() == ["a"]
        await woken()
    assert await world.twin.leases.reap() == []
    assert not await world.ledger.leases.renew("w1", lease_s=60), "it has to join anew"
    row = await world.row("a")
    assert (row.state, row.attempt, row.worker_id) == (JobState.QUEUED, 0, None)
    [claim] = await world.claim("w2")
    assert (claim.id, claim.attempt, claim.claims, claim.fence) == ("a", 1, 2, 2)


async def a_job_that_kills_its_workers_is_poison(world: World) -> None:
    await world.started("a")
    await world.record("good")
    for crash in range(1, CRASH_CAP + 1):
        assert await world.reaped() == ["a"]
        if crash < CRASH_CAP:
            assert ids(await world.claim(only=["a"])) == ["a"]
    row = await world.row("a")
    assert (row.state, row.claims) == (JobState.FAILED, CRASH_CAP)
    assert row.error == f"poison: its worker died {CRASH_CAP} times while running it"
    assert row.finished_at is not None
    assert ids(await world.claim()) == ["good"]
    await world.ledger.desk.retry("a")
    assert ids(await world.claim()) == ["a"], "by hand it gets another chance"
    assert await world.reaped() == ["a", "good"] or (await world.row("a")).state is JobState.QUEUED


async def a_cancelled_job_of_the_dead_is_cancelled(world: World) -> None:
    await world.started("a")
    await world.ledger.desk.cancel("a")
    assert await world.reaped() == ["a"]
    assert (await world.row("a")).state is JobState.CANCELLED
    assert await world.claim() == []


async def leaving_puts_back_without_a_charge(world: World) -> None:
    await world.join("w2")
    old = await world.started("a")
    await world.record("b")
    await world.ledger.desk.cancel((await world.claim_one()).id)
    async with listening(world.twin) as woken:
        await world.ledger.leases.leave("w1")
        await woken()
    await world.ledger.leases.leave("w1")
    assert [worker["id"] for worker in await world.ledger.leases.workers()] == ["w2"]
    assert (await world.row("b")).state is JobState.CANCELLED
    for _ in range(CRASH_CAP + 1):
        [claim] = await world.claim("w2")
        assert (claim.id, claim.attempt) == ("a", 1)
        await world.ledger.leases.leave("w2")
        await world.join("w2")
    assert not await world.settle(old)
    assert (await world.row("a")).state is JobState.QUEUED


async def many_reapers_charge_once(world: World) -> None:
    await world.join()
    await world.record(*(f"j{n}" for n in range(20)))
    await world.claim()
    await world.age(3600)
    taken = await asyncio.gather(*((world.ledger, world.twin)[n % 2].leases.reap() for n in range(6)))
    assert sorted(itertools.chain(*taken)) == sorted(f"j{n}" for n in range(20))
    await world.join()
    assert len(await world.claim()) == 20
    await world.reaped()
    assert all([(await world.row(f"j{n}")).state is JobState.QUEUED for n in range(20)])


async def no_job_is_lost_between_claimers_and_reapers(world: World) -> None:
    """Workers whose leases run out at any moment: at the end every job can still be run."""
    await world.record(*(f"j{n}" for n in range(30)))

    async def work(n: int) -> None:
        ledger = world.ledger if n % 2 else world.twin
        for turn in range(4):
            worker = Worker(id=f"w{n}-{turn}", host="h", pid=1)
            await ledger.leases.join(worker, lease_s=0.002 if turn % 2 else 60)
            await ledger.queue.record([job(f"r{n}-{turn}")], worker_id=worker.id, slots={ADDRESS: 1})
            await ledger.queue.claim(worker.id, {ADDRESS: 2})
            if turn % 2:
                await ledger.leases.reap()
            else:
                await ledger.leases.leave(worker.id)

    await asyncio.gather(*(work(n) for n in range(5)))
    done: set[str] = set()
    for turn in range(6):
        await world.reaped(f"last{turn}")
        for claim in await world.claim(f"last{turn}"):
            assert await world.settle(claim, Done())
            done.add(claim.id)
    rows = await world.ledger.desk.counts()
    poison = rows.get((ADDRESS, JobState.FAILED), 0)
    assert len(done) + poison == 50
    assert set(rows) <= {(ADDRESS, JobState.DONE), (ADDRESS, JobState.FAILED)}


async def who_lives_takes_its_charges_back(world: World) -> None:
    """A worker that only stood still for a while, as often as it likes."""
    claim = await world.started("a")
    for _ in range(CRASH_CAP + 2):
        assert await world.reaped() == ["a"]
        [following] = await world.claim(only=["a"])
        assert not await world.settle(claim, Done())
        await world.ledger.queue.acquit([claim])
        claim = following
    await world.ledger.queue.acquit([claim])
    for crash in range(CRASH_CAP):
        assert (await world.row("a")).state is JobState.RUNNING, f"after {crash} deaths"
        assert await world.reaped() == ["a"]
        await world.claim(only=["a"])
    row = await world.row("a")
    assert row.state is JobState.FAILED, "real deaths are counted as ever"
    await world.ledger.queue.acquit([claim])
    assert await world.row("a") == row, "what has ended stays as it is"


PROMISES = [
    the_living_are_listed,
    a_lease_is_kept_by_renewing,
    a_late_renewal_holds_while_nobody_took_the_lease,
    the_jobs_of_the_dead_are_put_back,
    a_job_that_kills_its_workers_is_poison,
    who_lives_takes_its_charges_back,
    a_cancelled_job_of_the_dead_is_cancelled,
    leaving_puts_back_without_a_charge,
    many_reapers_charge_once,
    no_job_is_lost_between_claimers_and_reapers,
]
