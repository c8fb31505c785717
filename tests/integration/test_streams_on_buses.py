"""The same worker on a real Kafka and on real Redis Streams, with its ledger on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest

from adapters.clock.system import SystemClock
from adapters.database.postgres import PostgresDb
from contracts.errors import Transient
from contracts.job import JobState
from contracts.message import Contract
from contracts.module import Module, Retry
from contracts.ports import Bus, Db, Emit
from tests.kit import services
from tests.kit.harness import Running, harness
from tests.kit.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120), pytest.mark.usefixtures("unwatched")]

MakeBus = Callable[[], Bus]


class Order(Contract, frozen=True):
    customer: str
    number: int


class Taken(Contract, frozen=True):
    customer: str
    number: int


class RunCount(Contract, frozen=True):
    upto: int = 3


@pytest.fixture(params=["kafka", "redis-stream"])
def make_bus(request: pytest.FixtureRequest, db: PostgresDb) -> MakeBus:
    """A new bus each time: each is a member of its own, as of another process."""

    async def ledger_id() -> str:
        return str(await db.fetch_value("select id from millrace.ledger"))

    if request.param == "kafka":
        servers: services.Running = request.getfixturevalue("kafka")

        def kafka() -> Bus:
            from adapters.bus.kafka.bus import KafkaBus

            return KafkaBus(
                servers.url, clock=SystemClock(), ledger_id=ledger_id, session_timeout_s=2.0, revoke_wait_s=5.0
            )

        return kafka
    server: services.Running = request.getfixturevalue("redis_server")

    def redis() -> Bus:
        from adapters.bus.redis_stream.bus import RedisStreamBus

        return RedisStreamBus(server.url, clock=SystemClock(), ledger_id=ledger_id, lease_s=2.0, revoke_wait_s=5.0)

    return redis


@pytest.fixture
async def table(db: PostgresDb) -> None:
    await db.execute("create table effects (customer text, number int, at bigserial)")


@pytest.fixture
def address() -> str:
    return f"orders.t{SystemClock().new_id()[-10:]}"


async def effects(db: PostgresDb) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for row in await db.fetch("select customer, number from effects order by at"):
        found[row["customer"]].append(row["number"])
    return found


def fails_first(order: Order) -> bool:
    return order.number % 7 == 3


def orders_module(address: str, **options: Any) -> Module:
    """Writes each order down once, and fails at some first."""
    module = Module("orders", kind="service", summary="Takes orders.")
    failed: set[tuple[str, int]] = set()
    retry = Retry(attempts=5, first_s=0.02, max_s=0.05)

    @module.stream(address, Order, key="customer", partitions=4, retry=retry, **options)
    async def take(order: Order, db: Db, emit: Emit) -> None:
        await db.execute("insert into effects (customer, number) values ($1, $2)", order.customer, order.number)
        await emit(f"{address}.taken", Taken(customer=order.customer, number=order.number), key=order.customer)
        if fails_first(order) and (order.customer, order.number) not in failed:
            failed.add((order.customer, order.number))
            raise Transient("not at once")

    @module.stream(f"{address}.taken", Taken, key="customer", partitions=4)
    async def seen(taken: Taken, db: Db) -> None:
        await db.execute(
            "insert into effects (customer, number) values ($1, $2)", f"seen {taken.customer}", taken.number
        )

    return module


async def publish(running: Running, address: str, customers: int, numbers: range) -> None:
    for order in orders(customers, numbers):
        await running.publish(address, order, id=id_of(order))


def orders(customers: int, numbers: range) -> list[Order]:
    return [Order(customer=f"c{n}", number=number) for number in numbers for n in range(customers)]


def id_of(order: Order) -> str:
    return f"{order.customer}.{order.number}"


async def all_there(db: PostgresDb, rows: int) -> None:
    async def there() -> bool:
        return int(await db.fetch_value("select count(*) from effects")) >= rows

    await until(there, timeout_s=60, what=f"{rows} effects")


async def test_effects_and_what_is_emitted_are_there_once_and_in_order(
    make_bus: MakeBus, db: PostgresDb, table: None, address: str
) -> None:
    async with harness(orders_module(address), db=db, bus=make_bus()) as running:
        await publish(running, address, 6, range(20))
        await all_there(db, 240)
        report = await running.stop()
    assert report.faults == []
    in_order = {f"{prefix}c{n}": list(range(20)) for prefix in ("", "seen ") for n in range(6)}
    assert await effects(db) == in_order


async def test_workers_come_and_go_and_nothing_is_lost_or_done_twice(
    make_bus: MakeBus, db: PostgresDb, table: None, address: str
) -> None:
    async with harness(orders_module(address), db=db, bus=make_bus()) as first:
        await publish(first, address, 6, range(10))
        async with harness(orders_module(address), db=db, bus=make_bus()) as second:
            await publish(first, address, 6, range(10, 20))
            await until(
                lambda: bool(second.worker.streams.consumers[0].owned), timeout_s=30, what="a share of the second"
            )
            await publish(second, address, 6, range(20, 30))
            report = await second.stop()
            # What waits for its next attempt goes back, and nothing else does.
            back = {id_ for id_, fate in report.fates.items() if fate != "finished"}
            assert report.faults == []
            assert back <= {id_of(order) for order in orders(6, range(30)) if fails_first(order)}
            assert {report.fates[id_] for id_ in back} <= {"requeued"}
        await publish(first, address, 6, range(30, 40))
        await all_there(db, 480)
    in_order = {f"{prefix}c{n}": list(range(40)) for prefix in ("", "seen ") for n in range(6)}
    assert await effects(db) == in_order


async def test_a_long_retry_is_parked_and_survives_the_worker(
    make_bus: MakeBus, db: PostgresDb, table: None, address: str
) -> None:
    def module(*, works: bool) -> Module:
        made = Module("orders", kind="service", summary="Takes orders.")

        @made.stream(
            address, Order, key="customer", partitions=2, in_lane_s=0.0, retry=Retry(attempts=9, first_s=0.5, max_s=1.0)
        )
        async def take(order: Order, db: Db) -> None:
            if order.customer == "slow" and not works:
                raise Transient("not yet")
            await db.execute("insert into effects (customer, number) values ($1, $2)", order.customer, order.number)

        return made

    async with harness(module(works=False), db=db, bus=make_bus()) as running:
        for number in range(5):
            await running.publish(
                address, Order(customer="slow", number=number), Order(customer="quick", number=number)
            )
        await all_there(db, 5)
        await until(lambda: _parked(running, 5), timeout_s=30, what="five parked messages")
    async with harness(module(works=True), db=db, bus=make_bus()):
        await all_there(db, 10)
    assert await effects(db) == {"slow": list(range(5)), "quick": list(range(5))}


async def _parked(running: Running, count: int) -> bool:
    return sum(one.parked for one in await running.ledger.partitions.holdings()) == count


async def test_a_message_for_later_waits_in_the_ledger(
    make_bus: MakeBus, db: PostgresDb, table: None, address: str
) -> None:
    from datetime import timedelta

    async with harness(orders_module(address), db=db, bus=make_bus()) as running:
        due_at = running.clock.now() + timedelta(seconds=2)
        await running.publish(address, Order(customer="later", number=1), not_before=due_at)
        await running.publish(address, Order(customer="now", number=1))
        await all_there(db, 4)
        assert running.clock.now() >= due_at
    first = await db.fetch_one("select customer from effects order by at")
    assert first == {"customer": "now"}


async def test_commands_reach_the_ledger(make_bus: MakeBus, db: PostgresDb) -> None:
    module = Module("count", kind="job", summary="Counts.")

    @module.job(f"run.count{SystemClock().new_id()[-8:]}", RunCount)
    async def run(cmd: RunCount) -> int:
        return cmd.upto

    async with harness(module, db=db, bus=make_bus()) as running:
        (command,) = [route.address for route in module.routes]
        ids = [await running.start(command, RunCount(upto=n)) for n in range(20)]

        async def all_done() -> bool:
            rows = [await running.ledger.desk.get(one) for one in ids]
            return all(row is not None and row.state is JobState.DONE for row in rows)

        await until(all_done, timeout_s=30, what="the end of all jobs")
        await asyncio.gather(*(running.start(command, RunCount(), id=one) for one in ids))
        assert len(await db.fetch("select from millrace.jobs")) == 20
