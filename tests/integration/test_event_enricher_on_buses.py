"""`event_enricher` on a real Kafka and on real Redis Streams: what waits for its row outlives the worker that put it
aside, and each event is seen once."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from adapters.clock.system import SystemClock
from adapters.database.postgres import PostgresDb
from contracts.dataset import Column
from contracts.enrichment import Added, Enrichment, Lookup
from contracts.event import Event
from contracts.module import Module
from contracts.ports import Db
from modules.event_enricher import module
from tests.integration.test_streams_on_buses import MakeBus
from tests.integration.test_streams_on_buses import make_bus as make_bus
from tests.kit.catalog import DeclaredCatalog
from tests.kit.harness import Running, harness
from tests.kit.waiting import until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.integration,
    pytest.mark.timeout(120),
    pytest.mark.usefixtures("unwatched"),
]

CUSTOMERS = 10


class Seen(msgspec.Struct, frozen=True):
    number: int
    customer: str
    name: str


class World:
    """One topic and one enrichment of its own, and a consumer that writes down what it sees."""

    def __init__(self, make_bus: MakeBus, db: PostgresDb) -> None:
        self._make_bus = make_bus
        self._db = db
        self.topic = f"orders.t{SystemClock().new_id()[-10:]}"
        columns = (Column(name="number", type="int"), Column(name="customer"))
        event = Event(name="order", topic=self.topic, key="customer", columns=columns, partitions=4)
        lookup = Lookup(table="customers", key="id", by="customer", add=(Added(column="name"),), missing_s=0.1)
        enrichment = Enrichment(
            name=self.topic.replace(".", "_"),
            event="order",
            to=f"{self.topic}.named",
            lookup=lookup,
            retries=100,
            retry_s=0.2,
            side=f"{self.topic}.unknown",
        )
        self._catalog = DeclaredCatalog(event, enrichment)
        self._sink = Module("sink", kind="service", summary="Writes down what it sees.")

        @self._sink.stream(f"{self.topic}.named", Seen, partitions=4)
        async def see(seen: Seen, db: Db) -> None:
            await db.execute("insert into noted (number, name) values ($1, $2)", seen.number, seen.name)

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[Running]:
        async with harness(module, self._sink, db=self._db, bus=self._make_bus(), catalog=self._catalog) as running:
            yield running

    async def publish(self, running: Running, numbers: range) -> None:
        for number in numbers:
            customer = f"c{number % CUSTOMERS}"
            await running.publish(
                self.topic, msgspec.json.encode({"number": number, "customer": customer}), key=customer
            )

    async def customers(self, numbers: range) -> None:
        await self._db.bulk_insert("customers", [(f"c{n}", f"name of c{n}") for n in numbers], columns=("id", "name"))

    async def seen(self) -> Counter[tuple[int, str]]:
        return Counter((row["number"], row["name"]) for row in await self._db.fetch("select number, name from noted"))

    async def are_seen(self, count: int) -> None:
        async def there() -> bool:
            return (await self.seen()).total() >= count

        await until(there, timeout_s=60, what=f"{count} events")


async def test_what_waits_outlives_its_worker_and_each_event_is_seen_once(make_bus: MakeBus, db: PostgresDb) -> None:
    await db.execute("create table customers (id text primary key, name text)")
    await db.execute("create table noted (number int, name text)")
    world = World(make_bus, db)
    await world.customers(range(0, CUSTOMERS, 2))
    async with world.worker() as running:
        await world.publish(running, range(100))
        await world.are_seen(50)
    assert all(number % 2 == 0 for number, _ in await world.seen())
    await world.customers(range(1, CUSTOMERS, 2))
    async with world.worker() as running:
        await world.publish(running, range(100, 150))
        await world.are_seen(150)
        assert await running.dead_letters() == []
    assert await world.seen() == Counter({(number, f"name of c{number % CUSTOMERS}"): 1 for number in range(150)})
