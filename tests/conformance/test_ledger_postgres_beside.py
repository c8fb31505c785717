# ruff: noqa: PT012 - what raises is a whole transaction
"""The ledger on PostgreSQL beside the transactions of its jobs, and what it asks of the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.database.postgres import PostgresDb
from adapters.ledger.postgres import leases, queue, session
from adapters.ledger.postgres.literals import flags, numbers, texts
from adapters.ledger.postgres.session import SET_UP
from adapters.ledger.postgres.wakes import CHANNEL
from contracts.errors import BadInput, LeaseLost, Permanent, Unavailable
from contracts.job import JobState, Progress
from contracts.outcome import Done, Retry
from contracts.ports.database import Guard
from contracts.ports.ledger import Settlement
from tests.conformance.ledger_postgres_world import postgres_world
from tests.conformance.ledger_world import ADDRESS, World, job
from tests.kit.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.integration]


@pytest.fixture
async def world(db: PostgresDb) -> AsyncIterator[World]:
    async with postgres_world(db) as made:
        yield made


def guard_of(world: World, claim: Any) -> Guard:
    guard = world.ledger.queue.guard(claim)
    assert guard is not None
    return guard


async def expire(db: PostgresDb) -> None:
    """All leases run out; nothing is written to the jobs."""
    await db.execute("update millrace.workers set lease_until = now() - interval '1 second'")


async def test_a_run_that_lost_its_job_cannot_commit(world: World, db: PostgresDb) -> None:
    claim = await world.started()
    await db.execute("create table effects (n int)")
    scoped = db.scoped(name="job a", guard=guard_of(world, claim))
    async with scoped.transaction() as tx:
        await tx.execute("insert into effects values (1)")
    with pytest.raises(LeaseLost):
        async with scoped.transaction() as tx:
            await tx.execute("insert into effects values (2)")
            await expire(db)
            assert await world.twin.leases.reap() == ["a"]
    await world.join("w2")
    await world.claim_one("w2")
    with pytest.raises(LeaseLost):
        await scoped.execute("insert into effects values (3)")
    assert await db.fetch("select n from effects") == [{"n": 1}]


async def test_nobody_takes_a_job_between_its_guard_and_its_commit(world: World, db: PostgresDb) -> None:
    claim = await world.started()
    guard = guard_of(world, claim)
    async with db.transaction() as tx:
        assert await tx.fetch_one(guard.sql, *guard.args) is not None
        async with db.transaction() as other:
            assert await other.fetch_one(guard.sql, *guard.args) is not None, "transactions of one run don't wait"
        await expire(db)
        assert await world.twin.leases.reap() == []
        assert await world.ledger.queue.note([(claim, Progress(rows=1))]) == []
    assert await world.twin.leases.reap() == ["a"], "after the commit it goes, though its worker's row is gone"
    async with db.transaction() as tx:
        assert await tx.fetch_one(guard.sql, *guard.args) is None


async def test_a_process_that_is_stopped_before_its_commit_keeps_its_job_for_a_while_only(
    world: World, db: PostgresDb, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = await world.started()
    await db.execute("create table effects (n int)")
    bound = "set_config('idle_in_transaction_session_timeout', '15s', true)"
    monkeypatch.setitem(queue.SQL, "guard", queue.SQL["guard"].replace(bound, bound.replace("15s", "200ms")))
    guard = guard_of(world, claim)

    async def reaped() -> bool:
        return await world.twin.leases.reap() == ["a"]

    with pytest.raises(Unavailable):
        async with db.transaction() as stopped:
            await stopped.execute("insert into effects values (1)")
            assert await stopped.fetch_one(guard.sql, *guard.args) is not None
            await expire(db)
            assert not await reaped()
            await until(reaped, what="the end of the session that holds the job")
    assert await db.fetch("select n from effects") == []


async def test_what_a_stopped_run_has_locked_does_not_hold_up_the_next_one(
    world: World, db: PostgresDb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "STANDS_STILL_S", 0.2)
    await db.execute("create table effects (n int primary key)")
    claim = await world.started()
    with pytest.raises(Unavailable):
        async with db.scoped(name="stopped", guard=guard_of(world, claim)).transaction() as stopped:
            await stopped.execute("insert into effects values (1)")
            await expire(db)
            assert await world.twin.leases.reap() == ["a"]
            await world.join("w2")
            again = await world.claim_one("w2")
            assert again.fence > claim.fence

            async def succeed() -> None:
                async with db.scoped(name="next", guard=guard_of(world, again)).transaction() as tx:
                    await tx.execute("insert into effects values (1)")

            async with asyncio.TaskGroup() as group:
                succeeding = group.create_task(succeed())
                while not succeeding.done():
                    await world.twin.leases.reap()
    assert await db.fetch_value("select count(*) from effects") == 1


async def test_a_transaction_that_saved_a_checkpoint_may_not_stand_still_for_ever(world: World, db: PostgresDb) -> None:
    claim = await world.started()
    guard = guard_of(world, claim)
    bounds = []
    async with db.transaction() as tx:
        for step in (
            lambda: tx.fetch_value("select 1"),
            lambda: world.ledger.queue.checkpoint(claim, b"1", tx=tx),
            lambda: tx.fetch_one(guard.sql, *guard.args),
        ):
            await step()
            bounds.append(await tx.fetch_value("show idle_in_transaction_session_timeout"))
    assert bounds == ["0", "5min", "15s"]
    assert await db.fetch_value("show idle_in_transaction_session_timeout") == "0"


async def test_a_checkpoint_belongs_to_its_transaction(world: World, db: PostgresDb) -> None:
    claim = await world.started()
    jobs = world.ledger.queue
    scoped = db.scoped(name="job a", guard=guard_of(world, claim))
    with pytest.raises(ZeroDivisionError):
        async with scoped.transaction() as tx:
            await jobs.checkpoint(claim, b"1", tx=tx)
            raise ZeroDivisionError
    assert (await world.row("a")).checkpoint is None
    async with scoped.transaction() as tx:
        await jobs.checkpoint(claim, b"2", tx=tx)
        assert (await world.row("a")).checkpoint is None
        assert await jobs.note([(claim, Progress(rows=9))]) == [], "it does not wait for the transaction"
    row = await world.row("a")
    assert (row.checkpoint, row.progress) == (2, None)
    await expire(db)
    await world.twin.leases.reap()
    with pytest.raises(LeaseLost, match="job a"):
        async with db.transaction() as tx:
            await jobs.checkpoint(claim, b"3", tx=tx)
    assert (await world.row("a")).checkpoint == 2


async def test_a_value_that_only_the_server_refuses_is_its_own_jobs_affair(world: World, db: PostgresDb) -> None:
    await world.join()
    await world.record("a", "b", "c", "d")
    claims = await world.claim()
    results = [b"1", b"1e400000", b'{"n": 1e-400000}', b"4"]
    ends = [Settlement(claim=c, outcome=Done(), result=r) for c, r in zip(claims[:3], results[:3], strict=True)]
    assert await world.ledger.queue.settle(ends) == [True, True, True]
    states = [(await world.row(id_)).state for id_ in ("a", "b", "c")]
    assert states == [JobState.DONE, JobState.FAILED, JobState.FAILED]
    assert "can't be kept: value overflows numeric format" in ((await world.row("b")).error or "")
    with pytest.raises(BadInput, match="the checkpoint can't be kept"):
        await world.ledger.queue.checkpoint(claims[3], b"1e400000")
    with pytest.raises(BadInput, match="the checkpoint can't be kept"):
        async with db.transaction() as tx:
            await world.ledger.queue.checkpoint(claims[3], b"1e400000", tx=tx)


async def test_a_run_that_left_a_transaction_hanging_holds_up_no_other(
    db: PostgresDb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "SET_UP", SET_UP.replace("'5s'", "'100ms'"))
    async with postgres_world(db) as world:
        await world.join()
        await world.record("a", "b", "c")
        claims = await world.claim()
        ends = [Settlement(claim=claim, outcome=Done()) for claim in claims]
        async with db.transaction() as hanging:
            await world.ledger.queue.checkpoint(claims[1], b"1", tx=hanging)
            with pytest.raises(Unavailable, match="lock timeout"):
                await world.ledger.queue.settle(ends)
            states = [(await world.row(id_)).state for id_ in ("a", "b", "c")]
            assert states == [JobState.DONE, JobState.RUNNING, JobState.DONE]
        assert await world.ledger.queue.settle(ends) == [True, True, True]


async def test_many_large_ends_are_settled_in_parts(world: World) -> None:
    await world.join()
    await world.record(*(f"j{n:02}" for n in range(40)))
    result = b'"' + b"x" * 1_000_000 + b'"'
    ends = [Settlement(claim=claim, outcome=Done(), result=result) for claim in await world.claim()]
    assert await world.ledger.queue.settle(ends) == [True] * 40
    assert len((await world.row("j39")).result) == 1_000_000


async def test_a_batch_notifies_once_and_only_for_what_waits(world: World, db: PostgresDb) -> None:
    came: list[str] = []
    await world.join()
    async with db.connect(name="test") as listener:
        await listener.listen(CHANNEL, came.append)
        jobs = world.ledger.queue
        recorded = await jobs.record([job(f"a{n}") for n in range(9)], worker_id="w1", slots={ADDRESS: 9})
        claims = [one.claim for one in recorded if one.claim]
        await jobs.settle([Settlement(claim=claim, outcome=Done()) for claim in claims])
        await jobs.note([(claim, Progress(rows=1)) for claim in claims])
        await db.fetch_value("select pg_notify($1, 'all ran at once')", CHANNEL)
        await jobs.record([job(f"b{n}") for n in range(9)])
        await db.fetch_value("select pg_notify($1, 'all were queued')", CHANNEL)
        claims = await world.claim()
        await jobs.settle([Settlement(claim=claim, outcome=Retry(after_s=0)) for claim in claims])
        await listener.fetch_value("select pg_notify($1, 'all were queued again')", CHANNEL)
    assert came == ["all ran at once", "", "all were queued", "", "all were queued again"]


async def test_the_index_has_the_last_word_on_unique_keys(world: World, db: PostgresDb) -> None:
    await world.join()
    await world.record("a", "b", unique_key="k")
    with pytest.raises(Permanent, match="jobs_one_running"):
        await db.execute("update millrace.jobs set state = 'running'")
    await world.record("c", unique_key="s", unique_skip=True)
    with pytest.raises(Permanent, match="jobs_one_active"):
        await db.execute("update millrace.jobs set unique_key = 's', unique_skip = true where id = 'a'")


@pytest.mark.parametrize("name", sorted({*queue.SQL, *leases.SQL}))
async def test_plans_never_read_the_whole_table(db: PostgresDb, name: str) -> None:
    """Also when the statistics say that the table is small, or that nothing is running."""
    sql = {**queue.SQL, **leases.SQL}[name]
    await db.execute(
        "insert into millrace.jobs (id, address, state, priority, rank, recorded_at, not_before, correlation_id,"
        " headers, body, finished_at) select n::text, 'x', 'done', 0, now(), now(), now(), '', '{}', '', now()"
        " from generate_series(1, 300) n"
    )
    await db.execute("analyze millrace.jobs")
    async with db.connect(name="test") as connection:
        await connection.execute(SET_UP)
        statement = await connection.raw.prepare(sql)
        nothing = ", ".join(["null"] * len(statement.get_parameters()))
        await connection.execute(f"prepare asked as {sql}")
        asked = f"explain execute asked ({nothing})" if nothing else "explain execute asked"
        plan = "\n".join(row["QUERY PLAN"] for row in await connection.fetch(asked))
    assert "Seq Scan on jobs" not in plan, plan
    for line in plan.splitlines():
        if "jobs_held" in line:
            assert name in ("strays", "reap", "leave", "workers", "end_standing"), plan
        if "jobs_line" in line:
            assert name in ("record", "claim", "next_due"), plan


async def test_changes_within_a_run_are_cheap(world: World, db: PostgresDb) -> None:
    """Progress and checkpoints touch no index: HOT updates, which leave nothing for vacuum to do."""
    claim = await world.started()
    for n in range(20):
        await world.ledger.queue.note([(claim, Progress(rows=n))])
        await world.ledger.queue.checkpoint(claim, b"%d" % n)
    before = await db.fetch_value("select pg_relation_size('millrace.jobs_pkey')")
    for n in range(400):
        await world.ledger.queue.note([(claim, Progress(rows=n))])
    assert await db.fetch_value("select pg_relation_size('millrace.jobs_pkey')") == before


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    said=st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))),
    whole=st.lists(st.none() | st.integers(-(2**63), 2**63 - 1)),
    broken=st.lists(st.floats(allow_nan=False, allow_infinity=False)),
    true=st.lists(st.booleans()),
)
async def test_literals_come_back_as_they_were(
    db: PostgresDb, said: list[str | None], whole: list[int | None], broken: list[float], true: list[bool]
) -> None:
    row = await db.fetch_one(
        "select $1::text::text[] as said, $2::text::bigint[] as whole, $3::text::float8[] as broken,"
        " $4::text::bool[] as flags",
        texts(said),
        numbers(whole),
        numbers(broken),
        flags(true),
    )
    assert row is not None
    assert row["said"] == (said if any(one is not None for one in said) else [])
    assert row["whole"] == whole
    assert row["broken"] == broken
    assert row["flags"] == (true if any(true) else [])
