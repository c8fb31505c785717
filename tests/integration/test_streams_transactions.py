"""Streams on a real PostgreSQL: effects, position and what is emitted commit together, whatever happens in between."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from adapters.database.postgres import PostgresDb
from contracts.errors import Transient, Unavailable
from contracts.message import Contract, Partition
from contracts.module import Batch, Module, Retry
from contracts.ports import Db, Emit, Statements
from tests.kit.harness import Running, harness

pytestmark = pytest.mark.anyio

QUICK = Retry(attempts=3, first_s=0.01, max_s=0.02)


class Order(Contract, frozen=True):
    customer: str = "c"
    number: int = 0


class Taken(Contract, frozen=True):
    number: int


@pytest.fixture
async def table(db: PostgresDb) -> None:
    await db.execute("create table effects (number int, tried int)")


async def effects(db: PostgresDb) -> list[int]:
    return [row["number"] for row in await db.fetch("select number from effects order by number")]


async def take_from_it(running: Running, group: str = "orders") -> None:
    """As a worker does that the bus gave the partitions to: every epoch goes up."""
    for assignment in [owned.assignment for owned in running.worker.streams.consumers[0].owned.values()]:
        await running.ledger.partitions.take(
            group, assignment.partition, worker_id="another", incarnation=assignment.incarnation, durable=False
        )


async def test_effects_are_there_once_and_a_failed_attempt_leaves_nothing(db: PostgresDb, table: None) -> None:
    module = Module("orders", kind="service", summary="Takes orders.")
    tries: dict[int, int] = {}

    @module.stream("orders.raw", Order, key="customer", retry=QUICK)
    async def take(order: Order, db: Db, emit: Emit) -> None:
        tries[order.number] = tries.get(order.number, 0) + 1
        await db.execute("insert into effects values ($1, $2)", order.number, tries[order.number])
        await emit("orders.taken", Taken(number=order.number))
        if order.number % 3 == 0 and tries[order.number] == 1:
            raise Transient("not now")

    async with harness(module, db=db) as running:
        await running.publish("orders.raw", *(Order(customer=f"c{n % 4}", number=n) for n in range(20)))
        await running.settled()
        assert sorted(one.number for one in running.emitted("orders.taken", Taken)) == list(range(20))
    assert await effects(db) == list(range(20))


async def test_pages_are_of_the_one_transaction_and_statements_are_outside_of_it(db: PostgresDb, table: None) -> None:
    module = Module("orders", kind="service", summary="Takes orders.")
    found: list[list[int]] = []
    tries: list[int] = []

    @module.stream("orders.raw", Order, key="customer", retry=QUICK)
    async def take(order: Order, db: Db, beside: Statements) -> None:
        tries.append(order.number)
        await db.bulk_insert("effects", [(number, 1) for number in range(5)], columns=["number", "tried"])
        sizes = []
        async for page in db.pages("select number from effects where tried = $1", 1, rows=2):
            sizes.append(len(page))
            assert await db.fetch_value("select count(*) from effects where tried = 1") == 5
        found.append(sizes)
        await beside.execute("insert into effects values (100, 0)")
        if len(tries) == 1:
            raise Transient("not now")

    async with harness(module, db=db) as running:
        assert running.worker.mounted["orders.raw"].gate.needs == {"db", "ledger", "statements"}  # type: ignore[union-attr]
        await running.publish("orders.raw", Order())
        await running.settled()
    assert found == [[2, 2, 1], [2, 2, 1]], "nothing was left of the first attempt"
    assert await effects(db) == [*range(5), 100, 100], "but for what was done by Statements"


async def test_a_part_that_fails_within_is_undone_alone(db: PostgresDb, table: None) -> None:
    module = Module("orders", kind="service", summary="Takes orders.")

    @module.stream("orders.raw", Order, retry=QUICK)
    async def take(order: Order, db: Db) -> None:
        await db.execute("insert into effects values ($1, 0)", order.number)
        with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the block is what is undone
            async with db.transaction() as tx:
                await tx.execute("insert into effects values (99, 0)")
                raise ZeroDivisionError

    async with harness(module, db=db) as running:
        await running.publish("orders.raw", Order(number=1))
        await running.settled()
    assert await effects(db) == [1]


async def test_calls_from_several_tasks_of_a_handler_take_turns(db: PostgresDb, table: None) -> None:
    module = Module("orders", kind="service", summary="Takes orders.")

    @module.stream("orders.raw", Order, retry=QUICK)
    async def take(order: Order, db: Db) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(10):
                group.create_task(db.execute("insert into effects values ($1, 0)", number))

    async with harness(module, db=db) as running:
        await running.publish("orders.raw", Order(number=1))
        await running.settled()
    assert await effects(db) == list(range(10))


async def test_a_partition_that_another_took_is_taken_back_only_after_the_bus_agreed(
    db: PostgresDb, table: None
) -> None:
    module = Module("orders", kind="service", summary="Takes orders.")
    began, may_end = asyncio.Event(), asyncio.Event()
    runs: list[int] = []

    @module.stream("orders.raw", Order, key="customer", partitions=1, retry=QUICK)
    async def take(order: Order, db: Db) -> None:
        runs.append(order.number)
        await db.execute("insert into effects values ($1, 0)", order.number)
        if len(runs) == 3:
            began.set()
            await may_end.wait()

    async with harness(module, db=db) as running:
        await running.publish("orders.raw", *(Order(number=n) for n in range(6)))
        await began.wait()
        await take_from_it(running)
        may_end.set()
        await running.settled()
    assert await effects(db) == list(range(6)), "the third was undone, and done again"
    assert runs == [0, 1, 2, 2, 3, 4, 5]


class Deaf:
    """A ledger's transaction whose commit takes place, and whose answer is lost, as often as is said."""

    def __init__(self, partitions: Any, times: int) -> None:
        self._partitions = partitions
        self._times = times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._partitions, name)

    def transaction(self, *args: Any, **options: Any) -> Any:
        from contextlib import asynccontextmanager

        @asynccontextmanager
        async def transaction() -> Any:
            async with self._partitions.transaction(*args, **options) as tx:
                yield tx
            if self._times:
                self._times -= 1
                raise Unavailable("PostgreSQL", "the answer to the commit was lost")

        return transaction()


async def test_a_commit_whose_answer_was_lost_is_not_repeated(db: PostgresDb, table: None) -> None:
    module = Module("orders", kind="service", summary="Takes orders.")

    @module.stream("orders.raw", Order, retry=QUICK)
    async def take(order: Order, db: Db) -> None:
        await db.execute("insert into effects values ($1, 0)", order.number)

    async with harness(module, db=db) as running:
        ledger: Any = running.ledger
        ledger.partitions = Deaf(ledger.partitions, times=2)
        await running.publish("orders.raw", *(Order(number=n) for n in range(5)))
        await running.settled()
    assert await effects(db) == list(range(5))


async def test_a_batch_commits_as_one_and_only_the_culprit_is_buried(db: PostgresDb, table: None) -> None:
    module = Module("orders", kind="service", summary="Takes orders.")

    @module.stream("orders.raw", Order, partitions=1, batch=Batch(rows=50, wait_s=0.05), retry=QUICK)
    async def take(orders: Sequence[Order], db: Db) -> None:
        await db.bulk_insert("effects", [(order.number, 0) for order in orders], columns=["number", "tried"])
        if any(order.number == 13 for order in orders):
            raise ValueError("unlucky")

    async with harness(module, db=db) as running:
        await running.publish("orders.raw", *(Order(number=n) for n in range(50)), b"not JSON")
        await running.settled()
        letters = await running.dead_letters()
    assert await effects(db) == [n for n in range(50) if n != 13]
    assert sorted(letter.reason for letter in letters) == ["failed 3 times", "undecodable"]


async def test_what_was_handled_under_the_same_id_is_not_handled_again(db: PostgresDb, table: None) -> None:
    module = Module("orders", kind="service", summary="Takes orders.")

    @module.stream("orders.raw", Order, partitions=1, retry=QUICK, dedupe_s=60)
    async def take(order: Order, db: Db) -> None:
        await db.execute("insert into effects values ($1, 0)", order.number)

    async with harness(module, db=db) as running:
        for number in (1, 2, 1, 1, 2):
            await running.publish("orders.raw", Order(number=number), id=f"order-{number}")
        await running.settled()
    assert await effects(db) == [1, 2]


async def test_dedupe_works_for_batches_and_within_one(db: PostgresDb, table: None) -> None:
    module = Module("orders", kind="service", summary="Takes orders.")

    @module.stream("orders.raw", Order, partitions=1, batch=Batch(rows=4, wait_s=0.05), retry=QUICK, dedupe_s=60)
    async def take(orders: Sequence[Order], db: Db) -> None:
        await db.bulk_insert("effects", [(order.number, 0) for order in orders], columns=["number", "tried"])

    async with harness(module, db=db) as running:
        for number in (1, 2, 1, 3, 3, 4, 2, 5):
            await running.publish("orders.raw", Order(number=number), id=f"order-{number}")
        await running.settled()
    assert await effects(db) == [1, 2, 3, 4, 5]


async def test_a_long_retry_is_parked_and_its_key_stays_in_order(db: PostgresDb, table: None) -> None:
    module = Module("orders", kind="service", summary="Takes orders.")
    done: list[tuple[str, int]] = []
    tries = 0

    @module.stream("orders.raw", Order, key="customer", partitions=1, in_lane_s=0.0, retry=QUICK)
    async def take(order: Order, db: Db) -> None:
        nonlocal tries
        if order == Order(customer="slow", number=0):
            tries += 1
            if tries < 3:
                raise Transient("not now")
        await db.execute("insert into effects values ($1, 0)", order.number)
        done.append((order.customer, order.number))

    async with harness(module, db=db) as running:
        orders = [Order(customer=customer, number=n) for n in range(10) for customer in ("slow", "quick")]
        await running.publish("orders.raw", *orders)
        await running.settled()
        assert not await running.ledger.parking.lanes(
            next(owned.hold for owned in running.worker.streams.consumers[0].owned.values() if owned.hold)
        )
    assert tries == 3
    assert [n for customer, n in done if customer == "slow"] == list(range(10))
    assert [n for customer, n in done if customer == "quick"] == list(range(10))
    assert done.index(("quick", 9)) < done.index(("slow", 9))


async def test_the_position_is_in_the_ledger_when_the_worker_left(db: PostgresDb, table: None) -> None:
    module = Module("orders", kind="service", summary="Takes orders.")

    @module.stream("orders.raw", Order, partitions=1)
    async def take(order: Order, db: Db) -> None:
        await db.execute("insert into effects values ($1, 0)", order.number)

    async with harness(module, db=db) as running:
        await running.publish("orders.raw", *(Order(number=n) for n in range(5)))
        await running.settled()
        (held,) = await running.ledger.partitions.holdings()
        assert held.worker_id is not None
        assert held.partition == Partition("orders.raw", 0)
        await running.stop()
    left = await db.fetch_one("select position, worker_id from millrace.partitions")
    assert left == {"position": 5, "worker_id": None}


async def test_two_processes_with_a_bus_of_their_own_each_leave_each_other_alone(db: PostgresDb, table: None) -> None:
    """They have the same partitions by name, and different messages in them."""
    module = Module("orders", kind="service", summary="Takes orders.")

    @module.stream("orders.raw", Order, key="customer", retry=QUICK)
    async def take(order: Order, db: Db) -> None:
        await db.execute("insert into effects values ($1, 1)", order.number)

    async with harness(module, db=db) as one, harness(module, db=db) as other:
        for first, running in ((0, one), (100, other), (10, one), (110, other)):
            await running.publish("orders.raw", *(Order(customer=f"c{n % 4}", number=first + n) for n in range(10)))
            await running.settled()
        holdings = await one.ledger.partitions.holdings()
        assert {holding.epoch for holding in holdings} == {1}, "nobody took anything from anybody"
        holders = {holding.worker_id for holding in holdings}
        assert holders == {running.worker.lease.row_id for running in (one, other)}
    assert await effects(db) == [*range(20), *range(100, 120)]
