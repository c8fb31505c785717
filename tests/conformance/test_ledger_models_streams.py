"""The ledger on PostgreSQL against the one in memory: positions and parking answer alike, whatever is asked of them."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from adapters.clock.manual import ManualClock
from adapters.database.postgres import PostgresDb
from adapters.ledger.memory import MemoryLedger
from contracts.errors import Conflict, LeaseLost
from contracts.message import Envelope, Partition
from contracts.ports.ledger import DeadLetter
from contracts.ports.parking import Parked, ToPark
from contracts.ports.partitions import Hold, Reported
from tests.conformance.ledger_postgres_world import postgres_world
from tests.conformance.ledger_world import World

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

POSITIONS = 12
nth = st.integers(0, 9)
which = st.integers(0, 2) | st.just(0)  # mostly the newest
positions = st.integers(0, POSITIONS - 1)
spans = st.tuples(positions, st.integers(1, 4)).map(lambda one: (one[0], one[0] + one[1]))
workers = st.sampled_from(["w1", "w2"])
lanes = st.sampled_from([None, "a", "a", "b", ""])
ids = st.lists(st.sampled_from(["x", "y", "z"]), max_size=2)
waits = st.sampled_from([0.0, 0.0, 0.0, 3600.0])
parked = st.lists(st.tuples(positions, lanes, waits), min_size=1, max_size=3)
steps = st.one_of(
    st.tuples(st.just("take"), workers, st.integers(0, 1), st.sampled_from("ij"), st.booleans()),
    st.tuples(st.just("take"), workers, st.just(0), st.just("i"), st.just(True)),
    st.tuples(st.just("finish"), which, spans),
    st.tuples(st.just("transaction"), which, spans, ids, st.sampled_from([0.0, 60.0]), st.lists(spans, max_size=1)),
    st.tuples(st.just("report"), which, positions | st.none(), positions, st.none() | positions),
    st.tuples(st.just("report"), which, positions, positions, st.none()),
    st.tuples(st.just("leave"), which, st.none() | positions, st.lists(spans, max_size=2)),
    st.tuples(st.just("charge"), which, positions),
    st.tuples(st.just("acquit"), which, positions),
    st.tuples(st.just("park"), which, parked),
    st.tuples(st.just("park"), which, parked),
    st.tuples(st.just("remove"), nth),
    st.tuples(st.just("effect"), nth),
    st.tuples(st.just("effect"), nth),
    st.tuples(st.just("postpone"), nth, waits),
    st.tuples(st.just("suspect"), nth),
    st.tuples(st.just("acquit parked"), nth),
    st.tuples(st.just("replay"), st.sampled_from(["p", "q"]), positions, lanes),
    st.tuples(st.just("reset"), st.none() | positions),
    st.tuples(st.just("prune"), st.integers(1, 3)),
    st.tuples(st.just("age"), st.sampled_from([30.0, 100.0, 4000.0])),
)


class Told:
    """A ledger, the holds and parked messages that it gave, and what it answered."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.partitions = world.ledger.partitions
        self.parking = world.ledger.parking
        self.holds: list[Hold] = []
        self.parked: list[Parked] = []

    async def do(self, step: tuple[Any, ...]) -> Any:
        match step:
            case ("take", worker_id, index, incarnation, durable):
                return await self._take(worker_id, index, incarnation, durable=durable)
            case ("reset", to):
                return await _answer(self.partitions.reset("g", "orders", to=to))
            case ("prune", batch):
                return await self.partitions.prune(batch=batch)
            case ("age", seconds):
                return await self.world.age(seconds)
            case ("replay", id_, position, lane):
                letter = DeadLetter(
                    id=id_, address="orders", group="g", reason="r", body=b"", partition=0, position=position, key=lane
                )
                await self.world.ledger.dead_letters.bury([letter])
                return await self.world.ledger.dead_letters.replay([letter], most=1)
            case (("remove" | "effect" | "postpone" | "suspect" | "acquit parked") as what, n, *more) if self.parked:
                return await self._with_parked(what, self.parked[-1 - n % len(self.parked)], *more)
            case (what, n, *more) if self.holds and what in (
                "finish",
                "transaction",
                "report",
                "leave",
                "charge",
                "acquit",
                "park",
            ):
                return await self._with_hold(what, self.holds[-1 - n % len(self.holds)], *more)
        return None

    async def state(self) -> Any:
        """What there is to be seen, without the numbers that each has of its own."""
        told: list[Any] = [
            (one.partition, one.worker_id, one.position, one.lag, one.open, one.parked)
            for one in await self.partitions.holdings()
        ]
        for hold in self.holds[-2:]:
            known = await self.partitions.known(hold, positions=range(POSITIONS + 4), ids=["x", "y", "z"])
            told.append((sorted(known.positions), sorted(known.ids), await _answer(self.parking.lanes(hold))))
        due = await self.parking.due(list(dict.fromkeys(self.holds)), limit=5)
        self.parked += [one for one in due if one not in self.parked]
        wait_s = await self.parking.next_due_s(self.holds)
        told.append([(one.position, one.lane, one.attempt, one.suspect, one.error, one.envelope) for one in due])
        told.append(wait_s if wait_s is None else wait_s <= 0)
        return told

    async def _take(self, worker_id: str, index: int, incarnation: str, *, durable: bool) -> Any:
        partition = Partition("orders", index)
        taking = self.partitions.take("g", partition, worker_id=worker_id, incarnation=incarnation, durable=durable)
        try:
            taken = await taking
        except Conflict as error:
            return str(error)
        self.holds.append(taken.hold)
        return taken.position, taken.finished, taken.suspects_below

    async def _with_hold(self, what: str, hold: Hold, *more: Any) -> Any:
        match what, more:
            case "finish", (span,):
                return await _answer(self.partitions.finish(hold, span))
            case "transaction", (span, ids_, dedupe_s, besides):
                return await _answer(self._transaction(hold, span, ids_, dedupe_s, besides))
            case "report", (position, reach, needless_below):
                said = Reported(hold=hold, position=position, reach=reach, lag=reach, needless_below=needless_below)
                return await self.partitions.report([said])
            case "leave", (position, finished):
                return await self.partitions.leave(hold, position=position, finished=finished)
            case "charge", (position,):
                return await _answer(self.partitions.charge(hold, position))
            case "acquit", (position,):
                return await self.partitions.acquit(hold, position)
            case "park", (messages,):
                return await _answer(self.parking.park(hold, [_to_park(*one) for one in messages]))
        raise AssertionError(what)

    async def _with_parked(self, what: str, one: Parked, *more: Any) -> Any:
        match what:
            case "remove":
                return await _answer(self.parking.remove(one))
            case "effect":
                return await _answer(self._effect(one))
            case "postpone":
                return await _answer(self.parking.postpone(one, attempt=one.attempt + 1, after_s=more[0], error="e"))
            case "acquit parked":
                return await self.parking.acquit(one)
            case _:
                return await _answer(self.parking.charge(one))

    async def _transaction(self, hold: Hold, span: Any, ids_: Any, dedupe_s: float, besides: Any) -> None:
        async with self.partitions.transaction(hold, span, name="x", ids=ids_, dedupe_s=dedupe_s, besides=besides):
            pass

    async def _effect(self, one: Parked) -> None:
        async with self.parking.transaction(one, name="x"):
            pass


def _to_park(position: int, lane: str | None, after_s: float) -> ToPark:
    envelope = Envelope(id=f"m{position}", address="orders", body=b"{}", key=lane)
    return ToPark(envelope=envelope, position=position, lane=lane, after_s=after_s)


async def _answer(call: Awaitable[Any]) -> Any:
    try:
        return await call
    except (Conflict, ValueError) as error:
        return str(error)
    except LeaseLost:
        return LeaseLost


@pytest.mark.timeout(120)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@example(
    told=[
        ("finish", 0, (3, 5)),
        ("report", 0, 2, 9, None),
        ("take", "w2", 0, "j", True),
        ("take", "w2", 0, "i", True),
        ("reset", 4),
        ("age", 100.0),
        ("reset", 4),
        ("take", "w2", 0, "j", True),
        ("take", "w1", 0, "i", False),
    ]
)
@given(told=st.lists(steps, min_size=4, max_size=30))
async def test_positions_and_parking_answer_alike(db: PostgresDb, told: list[tuple[Any, ...]]) -> None:
    clock = ManualClock()
    ledger = MemoryLedger(clock)
    await ledger.open()
    async with postgres_world(db) as world:
        await db.execute(
            "truncate millrace.partitions, millrace.finished, millrace.charges, millrace.seen, millrace.parked,"
            " millrace.dead_letters, millrace.workers"
        )
        memory = Told(World(ledger=ledger, twin=ledger, age=clock.advance))
        postgres = Told(world)
        for one in (memory, postgres):
            await one.world.join("w2", lease_s=90)
            await one.do(("take", "w1", 0, "i", True))
        for step in told:
            assert await memory.do(step) == await postgres.do(step), step
            assert await memory.state() == await postgres.state(), step
