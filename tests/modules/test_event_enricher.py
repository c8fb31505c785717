"""`event_enricher` with its table in a real PostgreSQL, on the memory bus."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from adapters.database.postgres import PostgresDb
from contracts.dataset import Column
from contracts.enrichment import Added, Enrichment, Lookup, MissingReference
from contracts.event import Event
from contracts.message import Envelope
from modules.event_enricher import module
from modules.event_enricher.measures import EVENTS, LOOKUPS
from tests.kit.catalog import DeclaredCatalog
from tests.kit.harness import HarnessBus, Running, harness

pytestmark = [pytest.mark.anyio, pytest.mark.integration, pytest.mark.usefixtures("unwatched")]

ORDER = Event(
    name="order",
    topic="orders",
    key="customer",
    partitions=2,
    columns=(
        Column(name="number", type="int", nullable=False),
        Column(name="customer"),
        Column(name="amount", type="decimal", scale=2),
        Column(name="placed_at", source="placedAt", type="timestamp"),
    ),
)
LOOKUP = Lookup(
    table="shop.customers",
    key="id",
    by="customer",
    add=(Added(column="name", name="customer_name"), Added(column="credit"), Added(column="region_id")),
)
ENRICHED = Enrichment(
    name="enriched", event="order", to="orders.enriched", lookup=LOOKUP, side="orders.unknown", retry_s=0.02
)
TABLE = """
create schema shop;
create table shop.customers (id varchar(20) primary key, name text, credit numeric, region_id int, tags jsonb);
insert into shop.customers values ('c1', 'Ada', 12.50, 7, '["a"]'), ('c2', null, null, 8, null);
"""


@asynccontextmanager
async def enriching(db: PostgresDb, *declared: Enrichment, table: bool = True) -> AsyncIterator[Running]:
    if table:
        await db.execute(TABLE)
    async with harness(module, db=db, catalog=DeclaredCatalog(ORDER, *declared)) as running:
        yield running


def order(number: int, customer: str | None = "c1", **more: Any) -> bytes:
    return msgspec.json.encode({"number": number, "customer": customer, "amount": 5, **more})


def sent(running: Running, address: str = "orders.enriched") -> list[Envelope]:
    assert isinstance(running.bus, HarnessBus)
    return [one for one in running.bus.published if one.address == address]


def bodies(running: Running, address: str = "orders.enriched") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [msgspec.json.decode(one.body) for one in sent(running, address)]
    return sorted(found, key=lambda body: (body.get("event") or body)["number"])


def missing(running: Running) -> dict[int, MissingReference]:
    told = running.emitted("orders.unknown", MissingReference)
    assert len(told) == len({one.event["number"] for one in told}), "each is told once"
    return {one.event["number"]: one for one in told}


async def test_events_go_on_with_what_they_refer_to(db: PostgresDb) -> None:
    async with enriching(db, ENRICHED) as running:
        await running.publish("orders", order(1, placedAt="2024-01-31T12:00:00"), order(2, "c2", extra=1))
        await running.settled()
        assert bodies(running) == [
            {"number": 1, "customer": "c1", "amount": "5", "placedAt": "2024-01-31T12:00:00Z"}
            | {"customer_name": "Ada", "credit": "12.50", "region_id": 7},
            {"number": 2, "customer": "c2", "amount": "5", "placedAt": None}
            | {"customer_name": None, "credit": None, "region_id": 8},
        ]
        assert {one.key for one in sent(running)} == {"c1", "c2"}
        assert running.metrics.value(EVENTS, enrichment="enriched", outcome="sent") == 2
        assert running.metrics.value(LOOKUPS, enrichment="enriched", outcome="table") == 2


async def test_what_is_sent_has_the_identity_of_the_event_that_it_comes_of(db: PostgresDb) -> None:
    async with enriching(db, ENRICHED) as running:
        for number in range(6):
            # Every message comes twice, as from an outbox that was cut between the bus and the ledger.
            for _ in range(2):
                await running.publish("orders", order(number), id=f"o{number}", correlation_id=f"web:{number}")
        await running.settled()
        by_source = {one.headers["source-id"]: one for one in sent(running)}
        assert set(by_source) == {f"o{number}" for number in range(6)}
        assert len({one.id for one in sent(running)}) == 6, "those of one event have one id, those of others another"
        assert all(one.correlation_id == source.replace("o", "web:") for source, one in by_source.items())


async def test_a_row_that_comes_later_is_found_and_holds_up_nobody(db: PostgresDb) -> None:
    patient = msgspec.structs.replace(ENRICHED, retries=100, retry_s=0.02)
    async with enriching(db, patient) as running:
        await running.publish("orders", order(1, "new"), order(2), order(3, "new"), order(4))
        await running.until(lambda: len(sent(running)) == 2, what="those whose row is there")
        assert [body["number"] for body in bodies(running)] == [2, 4]
        await db.execute("insert into shop.customers values ('new', 'Eve', 1, 9)")
        await running.settled()
        assert [body["number"] for body in bodies(running)] == [1, 2, 3, 4]
        assert {body["customer_name"] for body in bodies(running) if body["number"] in (1, 3)} == {"Eve"}
        assert {one.key for one in sent(running, "enrich.retry.enriched")} == {"new"}, "under the key of the event"
        assert missing(running) == {}
        assert await running.dead_letters() == []


async def test_a_row_that_never_comes(db: PostgresDb) -> None:
    impatient = msgspec.structs.replace(ENRICHED, retries=3)
    async with enriching(db, impatient) as running:
        await running.publish("orders", order(1, "nobody"), order(2, None), order(3), order(4, "a\0b"))
        await running.settled()
        told = missing(running)
        assert {number: one.attempts for number, one in told.items()} == {1: 4, 2: 0, 4: 4}
        assert told[1].table == "shop.customers"
        assert told[1].event == {"number": 1, "customer": "nobody", "amount": "5", "placedAt": None}
        assert len(sent(running, "enrich.retry.enriched")) == 6
        assert [body["number"] for body in bodies(running)] == [3]
        assert running.metrics.value(EVENTS, enrichment="enriched", outcome="put_aside") == 6
        assert running.metrics.value(EVENTS, enrichment="enriched", outcome="side") == 3


@pytest.mark.parametrize("policy", ["side", "pass"])
async def test_the_other_policies(db: PostgresDb, policy: Any) -> None:
    declared = msgspec.structs.replace(ENRICHED, missing=policy, side="orders.unknown" if policy == "side" else None)
    async with enriching(db, declared) as running:
        await running.publish("orders", order(1, "nobody"), order(2, None), order(3))
        await running.settled()
        numbers = [body["number"] for body in bodies(running)]
        if policy == "side":
            assert numbers == [3]
            assert {number: one.attempts for number, one in missing(running).items()} == {1: 1, 2: 0}
        else:
            assert numbers == [1, 2, 3]
            assert [body["customer_name"] for body in bodies(running)] == [None, None, "Ada"]
        assert sent(running, "enrich.retry.enriched") == []


async def test_events_under_another_key(db: PostgresDb) -> None:
    by_number = Enrichment(name="by_number", event="order", to="orders.by_number", key="number")
    by_region = msgspec.structs.replace(ENRICHED, name="by_region", to="orders.by_region", key="region_id")
    async with enriching(db, by_number, by_region) as running:
        await running.publish("orders", order(1), order(2, "c2"))
        await running.settled()
        assert {one.key: msgspec.json.decode(one.body)["number"] for one in sent(running, "orders.by_number")} == {
            "1": 1,
            "2": 2,
        }
        assert {one.key for one in sent(running, "orders.by_region")} == {"7", "8"}
        assert bodies(running, "orders.by_number")[0] == {
            "number": 1, "customer": "c1", "amount": "5", "placedAt": None,
        }  # fmt: skip


async def test_events_wait_for_a_table_that_is_not_there(db: PostgresDb) -> None:
    async with enriching(db, ENRICHED, table=False) as running:
        assert any(line["message"] == "events will wait for their reference data" for line in running.lines())
        await running.publish("orders", order(1))
        await running.until(lambda: any("is not available" in str(line) for line in running.lines()))
        await db.execute(TABLE)
        await running.settled()
        assert [body["number"] for body in bodies(running)] == [1]
        assert await running.dead_letters() == []


async def test_what_is_no_event_is_buried_and_the_others_go_on(db: PostgresDb) -> None:
    async with enriching(db, ENRICHED) as running:
        await running.publish("orders", order(1), b'{"number": "x"}', order(3))
        await running.until(lambda: len(sent(running)) == 2)
        (letter,) = await running.dead_letters()
        assert letter.error.startswith("orders takes Order: number: Expected `int`")


async def test_only_some_of_the_catalog(db: PostgresDb) -> None:
    from contracts.enrichment import RunEventEnricher

    catalog = DeclaredCatalog(ORDER, ENRICHED, msgspec.structs.replace(ENRICHED, name="other", to="others"))
    every, one = module.configured(catalog), module.configured(catalog, RunEventEnricher(enrichment=("other",)))
    assert [route.address for route in every.routes] == [
        "orders", "enrich.retry.enriched", "orders", "enrich.retry.other",
    ]  # fmt: skip
    assert [route.address for route in one.routes] == ["orders", "enrich.retry.other"]
