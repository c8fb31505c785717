"""The ledger on PostgreSQL when connections are cut and callers are cancelled: nothing is lost, nothing gets stuck."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

import pytest

from adapters.database.postgres import PostgresDb
from adapters.ledger.postgres import PostgresLedger
from contracts.errors import Unavailable
from contracts.job import Claim, JobState
from contracts.outcome import Done, Release
from contracts.ports.ledger import Settlement
from tests.conformance.ledger_postgres_world import postgres_world
from tests.conformance.ledger_world import ADDRESS, World, ids, job, listening
from tests.kit.databases import opened

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

T = TypeVar("T")

KILL = """
select count(pg_terminate_backend(pid)) from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and application_name like $1
"""


@pytest.fixture
async def world(db: PostgresDb) -> AsyncIterator[World]:
    async with postgres_world(db) as made:
        yield made


async def until_available(call: Callable[[], Awaitable[T]]) -> T:
    while True:
        try:
            return await call()
        except Unavailable:
            continue


async def test_every_connection_is_made_again(world: World, db: PostgresDb) -> None:
    await world.started("a")
    async with listening(world.ledger) as woken:
        for _ in range(3):
            await db.fetch_value(KILL, "millrace%")
            await woken()
            assert await world.ledger.leases.renew("w1", lease_s=60)
            assert (await until_available(lambda: world.row("a"))).state is JobState.RUNNING
            await until_available(world.ledger.check)
        await world.ledger.queue.record([job("b")])
        await woken()
    assert ids(await world.claim()) == ["b"]


async def test_a_lease_survives_the_loss_of_its_line(world: World, db: PostgresDb) -> None:
    await world.join()
    for _ in range(5):
        await db.fetch_value(KILL, "millrace lease")
        assert await world.ledger.leases.renew("w1", lease_s=60)


async def put_back(world: World, worker_id: str, known: Sequence[Claim] = ()) -> list[Claim]:
    """What this worker has claimed and never heard of."""
    queue = world.ledger.queue
    strays = await until_available(lambda: queue.strays(worker_id, known))
    ends = [Settlement(claim=claim, outcome=Release(reason="never heard of")) for claim in strays]
    await until_available(lambda: queue.settle(ends))
    return strays


async def test_no_job_is_lost_to_connections_that_are_cut_at_any_moment(world: World, db: PostgresDb) -> None:
    wanted = 60
    queue = world.ledger.queue
    for worker_id in ("w1", "w2", "w3"):
        await world.join(worker_id)

    async def cut() -> None:
        for _ in range(60):
            await db.fetch_value(KILL, "millrace ledger")

    async def do(claims: Sequence[Claim], worker_id: str) -> None:
        """All that it has heard of; what it has not is put back."""
        for claim in claims:
            end = [Settlement(claim=claim, outcome=Done())]
            assert await until_available(lambda end=end: queue.settle(end)) == [True]  # type: ignore[misc]
        await put_back(world, worker_id)

    async def record() -> None:
        for n in range(0, wanted, 5):
            new = [job(f"j{n + m}") for m in range(5)]
            recorded = await until_available(lambda new=new: queue.record(new, worker_id="w1", slots={ADDRESS: 2}))  # type: ignore[misc]
            await do([one.claim for one in recorded if one.claim], "w1")

    async def claim(worker_id: str) -> None:
        while await until_available(world.ledger.desk.counts) != {(ADDRESS, JobState.DONE): wanted}:
            await do(await until_available(lambda: queue.claim(worker_id, {ADDRESS: 3})), worker_id)

    async with asyncio.TaskGroup() as group:
        for part in (cut(), record(), claim("w2"), claim("w3")):
            group.create_task(part)


async def test_a_cancelled_call_leaves_no_job_behind(world: World) -> None:
    await world.join()
    names = [f"j{n:02}" for n in range(40)]
    held: list[Claim] = []

    async def call(n: int) -> None:
        held.extend(await world.claim(slots=3))
        if n % 2:
            urgent = job(names.pop(), priority=5)
            recorded = await world.ledger.queue.record([urgent], worker_id="w1", slots={ADDRESS: 1})
            held.extend(one.claim for one in recorded if one.claim)

    everything = set(names)
    await world.record(*(names.pop() for _ in range(30)))
    for n in range(12):
        async with asyncio.TaskGroup() as group:
            called = group.create_task(call(n))
            for _ in range(n * 2):
                await asyncio.sleep(0)  # noqa: TID251 - a turn of the loop, so that each call is cut somewhere else
            called.cancel()
    recorded = everything - set(names)
    await put_back(world, "w1", held)
    rest = await world.claim()
    assert len(held) + len(rest) >= 30
    states = {id_: await world.ledger.desk.get(id_) for id_ in recorded}
    assert all(row is None or row.state is JobState.RUNNING for row in states.values())
    assert {id_ for id_, row in states.items() if row} == {*ids(held), *ids(rest)}


async def test_what_is_not_open_or_not_migrated_says_so(world: World, db: PostgresDb, empty_database_url: str) -> None:
    closed = PostgresLedger(db)
    with pytest.raises(Unavailable, match="not open"):
        await closed.check()
    await closed.close()
    async with opened(PostgresDb(empty_database_url)) as bare:
        ledger = PostgresLedger(bare)
        with pytest.raises(Unavailable, match="millrace migrate up"):
            await ledger.open()
        rows = await bare.fetch(
            "select 1 from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        )
        assert rows == [], "nothing was left open"
