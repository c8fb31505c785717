# ruff: noqa: PT012 - what raises is a whole transaction
"""Positions and parking on PostgreSQL beside the transactions of handlers, and what they ask of the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from adapters.database.connection import Connection
from adapters.database.postgres import PostgresDb
from adapters.ledger.postgres import dead_letters, leases, parking, partitions
from adapters.ledger.postgres.session import SET_UP
from contracts.errors import LeaseLost, MillraceError, Unavailable
from contracts.message import Envelope, Partition
from contracts.ports.parking import ToPark
from contracts.ports.partitions import Hold, Reported
from tests.conformance.ledger_postgres_world import postgres_world
from tests.conformance.ledger_world import World
from tests.kit.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

P0 = Partition("orders", 0)


@pytest.fixture
async def world(db: PostgresDb) -> AsyncIterator[World]:
    async with postgres_world(db) as made:
        await db.execute("create table effects (n int primary key)")
        yield made


async def take(world: World, worker_id: str = "w1", partition: Partition = P0) -> Hold:
    return (await world.ledger.partitions.take("g", partition, worker_id=worker_id, incarnation="i")).hold


def message(position: int, lane: str | None = None, **more: Any) -> ToPark:
    return ToPark(
        envelope=Envelope(id=f"m{position}", address="orders", body=b""), position=position, lane=lane, **more
    )


async def effects(db: PostgresDb) -> list[int]:
    return [row["n"] for row in await db.fetch("select n from effects order by n")]


async def until_someone_waits_for_a_lock(db: PostgresDb) -> None:
    waiting = "select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"

    async def someone() -> bool:
        return await db.fetch_value(waiting) is not None

    await until(someone, what="a wait for a lock")


@pytest.mark.parametrize("state", ["idle in transaction", "active"])
async def test_a_process_that_is_stopped_before_its_commit_does_not_keep_its_partition(
    world: World, db: PostgresDb, state: str
) -> None:
    """It may be stopped between two messages of one statement: then the server takes it for active."""
    hold = await take(world)
    async with db.connect(name="stopped") as stopped:
        await stopped.raw.execute("begin")
        await stopped.raw.fetch("select 1 from millrace.partitions for key share")
        if state == "active":
            await stopped.raw.prepare("select 1")
        seen = "select state from pg_stat_activity where application_name = 'stopped'"
        assert await db.fetch_value(seen) == state
        heir = await take(world, "w2")
    assert heir.epoch > hold.epoch


async def test_what_a_stopped_process_has_locked_does_not_hold_up_its_successor(
    world: World, db: PostgresDb, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be stopped anywhere in its transaction; nobody who has not lost anything is ended."""
    monkeypatch.setattr(leases, "STANDS_STILL_S", 0.2)
    hold, other = await take(world), await take(world, partition=Partition("orders", 1))
    async with world.ledger.partitions.transaction(other, (0, 1), name="other") as slow:
        await slow.execute("insert into effects values (2)")
        with pytest.raises(Unavailable):
            async with world.ledger.partitions.transaction(hold, (0, 1), name="stopped") as stopped:
                await stopped.execute("insert into effects values (1)")
                heir = await take(world, "w2")

                async def succeed() -> None:
                    async with world.ledger.partitions.transaction(heir, (0, 1), name="heir") as tx:
                        await tx.execute("insert into effects values (1)")

                async with asyncio.TaskGroup() as group:
                    succeeding = group.create_task(succeed())
                    await until_someone_waits_for_a_lock(db)
                    while not succeeding.done():
                        await world.twin.leases.reap()
    assert await effects(db) == [1, 2]


async def test_effects_and_position_are_one_commit(world: World, db: PostgresDb) -> None:
    hold = await take(world)
    async with world.ledger.partitions.transaction(hold, (0, 1), name="message m0") as tx:
        await tx.execute("insert into effects values (0)")
        assert await tx.fetch_value("select current_setting('application_name')") == "message m0"
    with pytest.raises(LeaseLost):
        async with world.ledger.partitions.transaction(hold, (0, 1), name="x") as tx:
            await tx.execute("insert into effects values (1)")
    with pytest.raises(LeaseLost):
        async with world.ledger.partitions.transaction(hold, (1, 2), name="x") as tx:
            await tx.execute("insert into effects values (2)")
            await take(world, "w2")
    hold = await take(world, "w2")
    await world.ledger.parking.park(hold, [message(5, "a"), message(6, "a")])
    [parked] = await world.ledger.parking.due([hold], limit=9)
    async with world.ledger.parking.transaction(parked, name="x") as tx:
        await tx.execute("insert into effects values (5)")
    with pytest.raises(LeaseLost):
        async with world.ledger.parking.transaction(parked, name="x") as tx:
            await tx.execute("insert into effects values (6)")
    assert await effects(db) == [0, 5]


class Committing:
    """Transactions that have passed their guard and are not committed."""

    def __init__(self, db: PostgresDb, stack: AsyncExitStack) -> None:
        self._db = db
        self._stack = stack
        self.connections: list[Connection] = []

    async def add(self, hold: Hold, position: int) -> None:
        connection = await self._stack.enter_async_context(self._db.connect(name="test"))
        await connection.execute("begin")
        await connection.execute("insert into effects values ($1)", position)
        sql, *args = partitions.finishing(hold, [(position, position + 1)])
        assert await connection.fetch_one(sql, *args) is not None
        self.connections.append(connection)

    async def commit(self) -> None:
        for connection in self.connections:
            await connection.execute("commit")


@pytest.fixture
async def committing(db: PostgresDb) -> AsyncIterator[Committing]:
    async with AsyncExitStack() as stack:
        yield Committing(db, stack)


async def test_commits_of_one_partition_do_not_wait_for_each_other(world: World, committing: Committing) -> None:
    hold = await take(world)
    for position in range(8):
        await committing.add(hold, position)
    reported = Reported(hold=hold, position=None, reach=50)
    assert await world.ledger.partitions.report([reported]) == [True], "nor does a report wait for them"
    await committing.add(hold, 8)
    await committing.commit()
    assert (await world.ledger.partitions.known(hold, positions=range(20))).positions == set(range(9))


async def test_taking_waits_for_commits_under_way_and_lets_no_other_through(
    world: World, db: PostgresDb, committing: Committing
) -> None:
    hold = await take(world)
    for position in range(3):
        await committing.add(hold, position)
    async with asyncio.TaskGroup() as group:
        taking = group.create_task(world.twin.partitions.take("g", P0, worker_id="w2", incarnation="i"))
        await until_someone_waits_for_a_lock(db)
        for position in (3, 4):
            with pytest.raises(LeaseLost):
                async with world.ledger.partitions.transaction(hold, (position, position + 1), name="x") as tx:
                    await tx.execute("insert into effects values ($1)", position)
        assert not taking.done()
        await committing.commit()
    taken = taking.result()
    assert taken.finished == ((0, 3),)
    assert await effects(db) == [0, 1, 2]


async def test_a_busy_holder_cannot_keep_others_from_taking(world: World, db: PostgresDb) -> None:
    """There is never a moment without one of its commits under way."""
    hold = await take(world)
    numbers = iter(range(100_000))
    going = asyncio.Event()

    async def go_on() -> None:
        for n in numbers:
            async with world.ledger.partitions.transaction(hold, (n, n + 1), name="x") as tx:
                await tx.execute("insert into effects values ($1)", n)
            if n > 20:
                going.set()

    async with asyncio.TaskGroup() as group:
        busy = [group.create_task(_until_lost(go_on())) for _ in range(4)]
        async with asyncio.timeout(10):
            await going.wait()
        async with asyncio.timeout(5):
            taken = await world.twin.partitions.take("g", P0, worker_id="w2", incarnation="i")
        there = await effects(db)
    assert all(one.result() for one in busy)
    assert await effects(db) == there, "nothing was committed after it"
    assert {n for first, past in taken.finished for n in range(first, past)} == set(there)


async def _until_lost(work: Any) -> bool:
    try:
        await work
    except LeaseLost:
        return True
    return False


async def test_a_process_that_stands_still_before_its_commit_loses_it(
    world: World, db: PostgresDb, committing: Committing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "LOCK_TIMEOUT_MS", 50)
    hold = await take(world)
    await committing.add(hold, 0)
    with pytest.raises(Unavailable, match="lock"):
        monkeypatch.setattr(partitions, "LOCK_TRIES", 2)
        await take(world, "w2")
    monkeypatch.setattr(partitions, "STALLED_S", 0.0)
    async with db.transaction() as innocent:
        await innocent.execute("select * from millrace.partitions")
        taken = await world.ledger.partitions.take("g", P0, worker_id="w2", incarnation="i")
        await innocent.execute("select 1")
    assert taken.finished == ()
    with pytest.raises(MillraceError):
        await committing.commit()
    assert await effects(db) == []


async def test_one_id_in_two_partitions_at_once_has_one_effect(world: World, db: PostgresDb) -> None:
    holds = [await take(world, partition=Partition("orders", n)) for n in range(4)]

    async def one(n: int) -> bool:
        try:
            async with world.ledger.partitions.transaction(
                holds[n], (0, 1), name="x", ids=["same", f"own {n}"], dedupe_s=60
            ) as tx:
                await tx.execute("insert into effects values ($1)", n)
        except LeaseLost:
            return False
        return True

    done = await asyncio.gather(*(one(n) for n in range(4)))
    assert sum(done) == 1
    assert await effects(db) == [done.index(True)]


async def test_a_report_waits_for_no_disk_but_a_charge_does(world: World, db: PostgresDb) -> None:
    """Seen in the log's position that is flushed when it returns."""
    hold = await take(world)
    await world.ledger.partitions.finish(hold, (0, 1))

    async def unflushed() -> int:
        row = await db.fetch_value("select (pg_current_wal_insert_lsn() - pg_current_wal_flush_lsn())::bigint")
        return int(row)

    for _ in range(50):  # the server's own writer flushes now and then
        await world.ledger.partitions.report([Reported(hold=hold, position=1, reach=9)])
        if await unflushed():
            break
    else:
        pytest.fail("every report was flushed")
    await world.ledger.partitions.charge(hold, 5)
    assert await db.fetch_value("show synchronous_commit") == "on"


async def test_reports_touch_no_index(world: World, db: PostgresDb) -> None:
    hold = await take(world)
    for n in range(200):
        await world.ledger.partitions.report([Reported(hold=hold, position=n, reach=n + 9, lag=n)])
    assert await db.fetch_value("select pg_relation_size('millrace.partitions_pkey')") == 16384


async def test_a_fence_stays_cheap_when_a_table_was_small_once(world: World, db: PostgresDb) -> None:
    """The plan that a connection has made then must not be one that reads the whole table."""
    hold = await take(world)
    for table in ("partitions", "finished", "parked", "seen"):
        await db.execute(f"vacuum analyze millrace.{table}")
    async with db.connect(name="test") as connection:
        sql, *_ = partitions.finishing(hold, [(0, 1)])

        async def finish(position: int) -> None:
            args = partitions.finishing(hold, [(position, position + 1)])[1:]
            assert await connection.fetch_one(sql, *args) is not None

        async def remove(number: int) -> None:
            args = ("g", "orders", 0, hold.epoch, number, "a", "{}", 0.0)
            assert await connection.fetch_one(parking.SQL["remove"], *args) is not None

        parked = (
            "insert into millrace.parked (partition_id, position, lane, head, due_at, attempt, error, envelope)"
            " select p.id, n, 'a', n = 1, now(), 1, '', ''"
            " from millrace.partitions p, generate_series($1::int, $2::int) n"
        )
        await connection.execute(parked, 1, 10)
        for n in range(1, 9):
            await finish(n)
            await remove(n)
        await connection.execute(parked, 11, 20_000)
        await connection.execute(
            "insert into millrace.finished select id, 2 * n, 2 * n + 1"
            " from millrace.partitions, generate_series(100, 20000) n"
        )
        # Each transaction's share of the blocks: an index is a handful, the whole tables are hundreds.
        await connection.fetch_value("select pg_stat_force_next_flush()")
        blocks = "select sum(heap_blks_hit + heap_blks_read) from pg_statio_user_tables where schemaname = 'millrace'"
        before = await db.fetch_value(blocks)
        for n in range(9, 19):
            await finish(n)
            await remove(n)
        await connection.fetch_value("select pg_stat_force_next_flush()")
        assert await db.fetch_value(blocks) - before < 1000


async def test_a_long_lane_costs_no_more_than_a_short_one(world: World, db: PostgresDb) -> None:
    hold = await take(world)
    await world.ledger.parking.park(hold, [message(1, "a"), message(2, "b", after_s=60)])
    await db.execute(
        "insert into millrace.parked (partition_id, position, lane, head, due_at, attempt, error, envelope)"
        " select id, n, 'a', false, now(), 1, '', '' from millrace.partitions, generate_series(3, 100000) n"
    )
    asked = {
        "due": "'{g}', '{orders}', '{0}', '{%d}', 10",
        "next_due": "'{g}', '{orders}', '{0}', '{%d}'",
        "lanes": "'g', 'orders', 0, %d",
    }
    async with db.connect(name="test") as connection:
        await connection.execute(SET_UP)
        for name, args in asked.items():
            await connection.execute(f"prepare {name}_ as {parking.SQL[name]}")
            rows = await connection.fetch(f"explain (analyze, buffers) execute {name}_ ({args % hold.epoch})")
            plan = "\n".join(row["QUERY PLAN"] for row in rows)
            assert "parked_due" in plan
            [hits] = {
                int(line.split("shared hit=")[1].split()[0]) for line in plan.splitlines()[1:2] if "hit" in line
            } or [0]
            assert hits < 20, plan
    assert [one.position for one in await world.ledger.parking.due([hold], limit=5)] == [1]


FOR_PEOPLE = ("holdings", "orphans", "lock_all", "reset", "list")
TABLES = ("partitions", "finished", "charges", "seen", "parked", "dead_letters")


@pytest.mark.parametrize("part", [partitions, parking, dead_letters], ids=lambda part: part.__name__)
async def test_plans_never_read_a_whole_table(db: PostgresDb, part: Any) -> None:
    """Also when the statistics say that there is nothing in it."""
    for table in TABLES:
        await db.execute(f"analyze millrace.{table}")
    async with db.connect(name="test") as connection:
        await connection.execute(SET_UP)
        for name in part.SQL.keys() - set(FOR_PEOPLE):
            statement = await connection.raw.prepare(part.SQL[name])
            nothing = ", ".join(["null"] * len(statement.get_parameters()))
            await connection.execute(f"prepare {name}_ as {part.SQL[name]}")
            asked = f"explain execute {name}_ ({nothing})" if nothing else f"explain execute {name}_"
            plan = "\n".join(row["QUERY PLAN"] for row in await connection.fetch(asked))
            for table in TABLES:
                assert f"Seq Scan on {table} " not in plan, f"{name}: {plan}"
