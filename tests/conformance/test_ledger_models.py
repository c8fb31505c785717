"""The ledgers against what they say of themselves: the order of claims, and PostgreSQL against memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.clock.manual import ManualClock
from adapters.database.postgres import PostgresDb
from adapters.ledger.memory import MemoryLedger
from adapters.ledger.rank import rank_us
from contracts.errors import Conflict, NotFound
from contracts.job import Claim, JobState
from contracts.outcome import Cancelled, Dead, Done, Outcome, Release, Retry
from contracts.ports.ledger import JobFilter, Ledger, Settlement
from tests.conformance.ledger_postgres_world import postgres_world
from tests.conformance.ledger_world import ADDRESS, World, ids, job

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

WITH_FIXTURES = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]

waits = st.none() | st.integers(-7200, 7200)
lines = st.lists(st.lists(st.tuples(st.integers(-3, 3), waits), max_size=6), max_size=5)


async def claimed_in_order(ledger: Ledger, address: str, batches: Sequence[Sequence[tuple[int, int | None]]]) -> None:
    """Record batches of (priority, seconds until it may start), then claim a few at a time."""
    await ledger.queue.record([job(f"{address} clock", address=f"{address} clock")])
    [now] = [row.recorded_at for row in await ledger.desk.list(JobFilter(address=f"{address} clock"))]
    for number, batch in enumerate(batches):
        new = [
            job(
                f"{address} {number} {n}",
                address=address,
                priority=priority,
                not_before=None if wait is None else now + timedelta(seconds=wait),
            )
            for n, (priority, wait) in enumerate(batch)
        ]
        await ledger.queue.record(new)
    rows = await ledger.desk.list(JobFilter(address=address, limit=1000))
    ranks = {row.id: rank_us(row.recorded_at, row.not_before, row.priority) for row in rows}
    eligible = [row.id for row in rows if row.not_before <= now + timedelta(seconds=60)]
    claimed: list[str] = []
    while claims := await ledger.queue.claim("w1", {address: 3}):
        claimed += ids(claims)
    assert sorted(claimed) == sorted(eligible)
    assert [ranks[id_] for id_ in claimed] == sorted(ranks[id_] for id_ in eligible)


@settings(deadline=None)
@given(lines)
async def test_memory_claims_in_order_of_rank(batches: list[list[tuple[int, int | None]]]) -> None:
    clock = ManualClock()
    ledger = MemoryLedger(clock)
    await World(ledger=ledger, twin=ledger, age=clock.advance).join()
    await claimed_in_order(ledger, "x", [[(p, w and w + 90 * (w > 0)) for p, w in batch] for batch in batches])


@settings(max_examples=25, deadline=None, suppress_health_check=WITH_FIXTURES)
@given(batches=lines)
async def test_postgres_claims_in_order_of_rank(db: PostgresDb, batches: list[list[tuple[int, int | None]]]) -> None:
    async with postgres_world(db) as world:
        await world.join()
        await db.execute("truncate millrace.jobs")
        await claimed_in_order(
            world.ledger, "x", [[(p, w and w + 90 * (w > 0)) for p, w in batch] for batch in batches]
        )


outcomes: list[Outcome] = [
    Done(),
    Retry(after_s=0, error="e"),
    Retry(after_s=0, counts=False),
    Retry(after_s=5000, error="later"),
    Dead(reason="r"),
    Cancelled(reason="c"),
    Release(reason="r"),
]
names = st.sampled_from([f"j{n}" for n in range(6)])
jobs = st.builds(
    lambda id_, priority, key, skip: {"id_": id_, "priority": priority, "unique_key": key, "unique_skip": skip},
    names,
    st.sampled_from([0, 0, 2]),
    st.sampled_from([None, None, "k", "l"]),
    st.booleans(),
)
workers = st.sampled_from(["w1", "w2"])
steps = st.one_of(
    st.tuples(st.just("record"), st.lists(jobs, min_size=1, max_size=4), st.none() | workers, st.integers(0, 3)),
    st.tuples(st.just("claim"), workers, st.integers(1, 3)),
    st.tuples(st.just("only"), workers, st.lists(names, min_size=1, max_size=3)),
    st.tuples(st.just("settle"), st.integers(0, 9), st.sampled_from(outcomes)),
    st.tuples(st.just("checkpoint"), st.integers(0, 9)),
    st.tuples(st.just("cancel"), names),
    st.tuples(st.just("retry"), names),
    st.tuples(st.just("strays"), workers, st.integers(0, 3)),
    st.tuples(st.just("leave"), workers),
    st.tuples(
        st.just("reap"),
    ),
)


class Told:
    """A ledger, the claims that it gave, and what it answered."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.claims: list[Claim] = []

    async def do(self, step: tuple[Any, ...]) -> Any:
        queue, desk, leases = self.world.ledger.queue, self.world.ledger.desk, self.world.ledger.leases
        match step:
            case ("record", wanted, worker_id, slots):
                recorded = await queue.record(
                    [job(**one) for one in wanted], worker_id=worker_id, slots={ADDRESS: slots}
                )
                self.claims += [one.claim for one in recorded if one.claim]
                return [(one.id, one.became, one.active_id, _seen(one.claim)) for one in recorded]
            case ("claim", worker_id, slots):
                return self._took(await self.world.claim(worker_id, slots))
            case ("only", worker_id, wanted):
                return self._took(await self.world.claim(worker_id, 2, only=wanted))
            case ("settle", n, outcome) if self.claims:
                return await queue.settle([Settlement(claim=self.claims[-1 - n % len(self.claims)], outcome=outcome)])
            case ("checkpoint", n) if self.claims:
                return await self._error(queue.checkpoint(self.claims[-1 - n % len(self.claims)], b"[%d]" % n))
            case ("cancel", id_):
                return await self._error(desk.cancel(id_))
            case ("retry", id_):
                return await self._error(desk.retry(id_))
            case ("strays", worker_id, n):
                return [_seen(claim) for claim in await queue.strays(worker_id, self.claims[-1 - n :])]
            case ("leave", worker_id):
                await leases.leave(worker_id)
                await self.world.join(worker_id)
            case ("reap",):
                await self.world.age(3600)
                reaped = await leases.reap()
                await self.world.join("w1")
                await self.world.join("w2")
                return sorted(reaped)
        return None

    async def rows(self) -> list[Any]:
        rows = [await self.world.ledger.desk.get(f"j{n}") for n in range(6)]
        return [
            row
            and (
                (row.id, row.state, row.attempt, row.claims, row.worker_id, row.checkpoint, row.error, row.unique_key),
                (row.finished_at is None, row.started_at is None, row.cancel_requested_at is None),
            )
            for row in rows
        ]

    def _took(self, claims: list[Claim]) -> list[Any]:
        self.claims += claims
        return [_seen(claim) for claim in claims]

    async def _error(self, call: Any) -> Any:
        try:
            return await call
        except (Conflict, NotFound) as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - compared with the other's
            return type(error)


def _seen(claim: Claim | None) -> Any:
    return claim and (claim.id, claim.fence, claim.attempt, claim.claims, claim.checkpoint)


@pytest.mark.timeout(60)
@settings(max_examples=25, deadline=None, suppress_health_check=WITH_FIXTURES)
@given(told=st.lists(steps, min_size=3, max_size=25))
async def test_postgres_and_memory_answer_alike(db: PostgresDb, told: list[tuple[Any, ...]]) -> None:
    clock = ManualClock()
    ledger = MemoryLedger(clock)
    await ledger.open()
    async with postgres_world(db) as world:
        await db.execute("truncate millrace.jobs, millrace.workers")
        memory = Told(World(ledger=ledger, twin=ledger, age=clock.advance))
        postgres = Told(world)
        for one in (memory, postgres):
            await one.world.join("w1")
            await one.world.join("w2")
        for step in told:
            assert await memory.do(step) == await postgres.do(step), step
            assert await memory.rows() == await postgres.rows(), step
    for row in await memory.rows():
        assert row is None or row[0][1] in set(JobState)
