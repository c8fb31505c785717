"""PostgreSQL is stopped and started under a worker: who needs it waits, who does not goes on, nothing is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from adapters.database.postgres import Limits, PostgresDb
from contracts import metrics as metric
from contracts.job import JobState
from contracts.message import Contract
from contracts.module import Module, Retry
from contracts.ports import Clock, Db
from migrations import runner
from runtime.readiness import Readiness
from tests.kit import services
from tests.kit.databases import opened
from tests.kit.harness import Running, harness

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(90)]


class Order(Contract, frozen=True):
    customer: str = "c"
    number: int = 0


@pytest.fixture
async def server() -> AsyncIterator[services.OwnPostgres]:
    async with services.own_postgres() as made:
        yield made


@pytest.fixture
async def db(server: services.OwnPostgres) -> AsyncIterator[PostgresDb]:
    limits = Limits(pool_size=5, acquire_timeout_s=2, connect_timeout_s=2)
    async with opened(PostgresDb(server.url, limits=limits)) as made:
        await runner.up(made)
        await made.execute("create table orders (customer text, number int)")
        yield made


class Shop:
    """Orders go into the database, clicks don't, and a job reads it. None has more than one attempt."""

    def __init__(self) -> None:
        self.module = Module("shop", kind="service", summary="A shop.")
        self.clicks: list[int] = []
        self.tried = 0

        @self.module.stream("orders.raw", Order, key="customer", retry=Retry(attempts=1), partitions=2)
        async def keep(order: Order, db: Db) -> None:
            self.tried += 1
            await db.execute("insert into orders values ($1, $2)", order.customer, order.number)

        @self.module.stream("clicks.raw", Order, retry=Retry(attempts=1), partitions=2)
        async def click(order: Order) -> None:
            self.clicks.append(order.number)

        @self.module.job("run.count", Order, retry=Retry(attempts=1))
        async def count(order: Order, db: Db, clock: Clock) -> int:
            self.tried += 1
            await clock.sleep(0.2)
            return int(await db.fetch_value("select count(*) from orders"))


async def orders(first: int, running: Running, *, count: int = 20) -> None:
    await running.publish(
        "orders.raw", *[Order(customer=f"c{number % 5}", number=number) for number in range(first, first + count)]
    )


async def test_while_the_database_is_down_the_routes_that_need_it_wait_and_the_others_go_on(
    server: services.OwnPostgres, db: PostgresDb
) -> None:
    shop = Shop()
    async with harness(shop.module, db=db, worker_lease_s=60) as running:
        # The harness is given an open database; a worker that opened it knows it as its own.
        running.worker.adapters._open.append(("db", db))
        await orders(0, running)
        await running.settled()
        job_id = await running.start("run.count", Order())
        await running.job_is(job_id, lambda row: row.state is JobState.RUNNING)

        await server.stop()
        await orders(20, running)
        await running.until(lambda: running.metrics.value(metric.BREAKER_OPEN, dependency="db") == 1)
        [consumer] = [one for one in running.worker.streams.consumers if one.route.address == "orders.raw"]
        await running.until(lambda: "breaker: db" in consumer.paused)
        tried = shop.tried

        await running.publish("clicks.raw", *[Order(number=number) for number in range(10)])
        await running.until(lambda: len(shop.clicks) == 10, what="the route that needs no database")
        await orders(40, running)
        report = await Readiness(running.worker).report()
        assert (report.status, report.breakers["db"].state in ("open", "half-open")) == ("degraded", True)
        assert {one.address for one in report.routes} == {"orders.raw", "run.count"}
        assert shop.tried == tried, "nothing is tried while it is down"

        await server.start()
        await running.until(lambda: not consumer.paused, what="the end of the pause")
        await running.settled()
        assert await running.dead_letters() == [], "no attempt was used up, though there is only one"
        row = await running.ended(job_id)
        assert (row.state, row.attempt) == (JobState.DONE, 1)
        kept = await db.fetch("select customer, number from orders order by ctid")
        changes = [line["message"] for line in running.lines() if line.get("context", {}).get("dependency") == "db"]
    assert sorted(one["number"] for one in kept) == list(range(60)), "each exactly once"
    for customer in {one["customer"] for one in kept}:
        numbers = [one["number"] for one in kept if one["customer"] == customer]
        assert numbers == sorted(numbers), "in order"
    assert changes == ["breaker opened: routes wait for a dependency", "breaker closed: a dependency is back"]
