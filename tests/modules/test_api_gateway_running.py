"""Reads beside writes, many at once, long ones, and sources that are not as they should be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from redis.asyncio import Redis

from adapters.database.postgres import PostgresDb
from contracts.message import Contract
from contracts.module import Module
from contracts.ports import Db
from contracts.resource import Resource
from modules.api_gateway import source
from tests.kit import services
from tests.kit.waiting import until
from tests.modules.gateway_kit import ORDERS, SHOP, Api, serving

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

MANY = Resource(name="many", source="shop.many", columns=("id", "text"), key=("id",), filters=("id",), most_rows=60_000)
EXPENSIVE = Resource(name="expensive", source="shop.expensive", columns=("id",), key=("id",), timeout_s=0.2, cache_s=0)
VIEW = Resource(name="sums", source="shop.sums", columns=("sku", "rows"), key=("sku",))
GATE = 19
"""Of an advisory lock that a test holds: whoever reads what asks for it waits."""
VIEWS = """
create view shop.many as select id, repeat('x', 1000) as text from generate_series(1, 60000) id;
create view shop.expensive as select 1 as id where pg_sleep(60)::text <> 'woken';
create view shop.sums as select sku, count(*) as rows from shop.orders group by sku;
"""


class RunPrice(Contract, frozen=True):
    """Set the price of an order."""

    order_id: int
    price: float


def pricing() -> Module:
    module = Module("pricing", kind="job", summary="Sets prices.")

    @module.job("run.price", RunPrice)
    async def run(cmd: RunPrice, db: Db) -> None:
        """In a transaction, as every job's are."""
        await db.execute("update shop.orders set price = $2 where order_id = $1", cmd.order_id, cmd.price)

    return module


@pytest.fixture
async def shop(db: PostgresDb) -> PostgresDb:
    await db.execute(SHOP + VIEWS)
    return db


@pytest.fixture
async def api(shop: PostgresDb, database_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(database_url, tmp_path, ORDERS, MANY, EXPENSIVE, VIEW, more=(pricing(),)) as api:
        yield api


async def reads(api: Api, outcome: str, resource: str = "orders") -> float:
    text = (await api.get("/metrics")).text
    name = f'platform_api_reads_total{{outcome="{outcome}",resource="{resource}"}} '
    return float(next((line.removeprefix(name) for line in text.splitlines() if line.startswith(name)), 0))


async def test_what_many_ask_for_at_once_is_read_once_and_kept(api: Api) -> None:
    answers = await asyncio.gather(*(api.get("/api/orders?sort=-price") for _ in range(30)))
    assert len({answer.content for answer in answers}) == 1
    assert await reads(api, "read") == 1
    before = await reads(api, "cache")
    await api.get("/api/orders?sort=-price&limit=2")
    assert await reads(api, "cache") == before + 1, "the page has two rows anyway"


async def test_of_gateways_that_share_a_cache_one_reads(
    shop: PostgresDb, database_url: str, tmp_path: Path, redis_server: services.Running
) -> None:
    await shop.execute(
        f"create view shop.slow as select 1 as id where pg_advisory_xact_lock_shared({GATE}) is not null"
    )
    slow = Resource(name="slow", source="shop.slow", columns=("id",), key=("id",), timeout_s=60)
    shared: Any = {
        "MILLRACE_CACHE": "redis",
        "CACHE_REDIS_URL": redis_server.url,
        "CACHE_REDIS_PREFIX": f"{tmp_path.name}:",
        "CACHE_REDIS_TIMEOUT_S": "10",  # a busy machine must not be taken for a cache that is down
    }
    async with (
        Redis.from_url(redis_server.url) as redis,
        serving(database_url, tmp_path / "one", slow, **shared) as one,
        serving(database_url, tmp_path / "other", slow, **shared) as other,
    ):

        async def claims() -> int:
            """How often anybody tried to be the one that reads."""
            return int((await redis.info("commandstats")).get("cmdstat_set", {"calls": 0})["calls"])

        async def others_wait() -> bool:
            return await claims() > tried + 6  # two are those with which a cache is tried out

        async with asyncio.TaskGroup() as group, shop.transaction() as gate:
            await gate.execute(f"select pg_advisory_xact_lock({GATE})")
            tried = await claims()
            asked = [group.create_task(each.get("/api/slow")) for each in (one, other) * 3]
            await until(others_wait, what="one that reads and another one that waits for it")
            reading = "select count(*) from pg_stat_activity where query like '%\"slow\"%' and pid <> pg_backend_pid()"
            assert await shop.fetch_value(f"{reading} and datname = current_database() and state = 'active'") == 1
        assert {(answer.result().status_code, answer.result().text) for answer in asked} == {
            (200, '{"data":[{"id":1}],"next":null}')
        }
        assert await reads(one, "read", "slow") + await reads(other, "read", "slow") == 1
        assert await reads(one, "cache", "slow") + await reads(other, "cache", "slow") == 1


async def test_what_a_job_changed_is_seen_by_every_gateway(
    api: Api, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each request looks: that a look is taken for right for a second is no part of what is tried here.
    monkeypatch.setattr(source, "LOOK_S", 0.0)
    async with serving(database_url, tmp_path / "other", ORDERS, VIEW) as other:
        for price in (11.5, 12.5):
            assert await price_of(api) == await price_of(other) != price
            await api.done("run.price", {"order_id": 1, "price": price})
            assert await price_of(api) == await price_of(other) == price
        unchanged = await reads(api, "read")
        assert await price_of(api) == 12.5
        assert await reads(api, "read") == unchanged


async def test_a_view_changes_with_the_tables_behind_it(
    api: Api, shop: PostgresDb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "LOOK_S", 0.0)
    assert (await api.json("/api/sums/A-001"))["rows"] == 2
    await shop.scoped(name="a job", guard=None).execute("insert into shop.orders (order_id, sku) values (6, 'A-001')")
    assert (await api.json("/api/sums/A-001"))["rows"] == 3
    await shop.execute("truncate shop.orders")
    await api.json("/api/sums/A-001", 404)


async def test_a_source_that_is_not_there_yet_or_not_as_declared_is_told(
    api: Api, shop: PostgresDb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "LOOK_S", 0.0)
    await shop.execute("alter table shop.orders rename to gone")
    problem = await api.json("/api/orders", 503)
    assert problem["detail"] == "resource orders is not available: there is no shop.orders yet: load it first"
    await shop.execute("alter table shop.gone rename to orders; alter table shop.orders rename column note to remark")
    assert "has no column note" in (await api.json("/api/orders", 503))["detail"]
    await shop.execute("alter table shop.orders rename column remark to note")
    await shop.execute("alter table shop.orders alter column quantity type text")
    assert [row["quantity"] for row in (await api.json("/api/orders?quantity=2"))["data"]] == ["2"]


async def test_a_statement_that_takes_too_long_is_given_up(api: Api, shop: PostgresDb) -> None:
    refused = await api.get("/api/expensive?fields=id&limit=1")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    assert "within 0.2 s" in refused.json()["detail"]
    running = "select count(*) from pg_stat_activity where state = 'active' and pid <> pg_backend_pid()"
    assert await shop.fetch_value(f"{running} and query like '%expensive%'") == 0


async def test_nothing_can_be_written_by_reading(api: Api, shop: PostgresDb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "LOOK_S", 0.0)
    await shop.execute("""
        create table shop.seen (at timestamptz);
        create function shop.see() returns text language sql volatile as $$
            insert into shop.seen values (now()) returning 'seen' $$;
        drop view shop.sums;
        create view shop.sums as select shop.see() as sku, 1 as rows
    """)
    assert (await api.json("/api/sums", 503))["detail"].endswith("the log has more")
    assert await shop.fetch_value("select count(*) from shop.seen") == 0


# --- long answers -------------------------------------------------------------------------------------------------


async def test_a_long_answer_is_whole_or_refused(api: Api, shop: PostgresDb) -> None:
    answer = await api.get("/api/many?id.lte=2500&fields=id", Accept="application/x-ndjson")
    assert [msgspec.json.decode(line)["id"] for line in answer.text.splitlines()] == list(range(1, 2501))
    assert answer.headers["transfer-encoding"] == "chunked"
    await shop.execute("insert into shop.orders (order_id, sku) select id, 'C' from generate_series(100, 2096) id")
    refused = await api.json("/api/orders", 400, Accept="text/csv")
    assert refused["detail"].startswith("more than 2,000 rows match")
    assert len((await api.get("/api/orders?sku=C", Accept="text/csv")).text.splitlines()) == 1998
    head = await api.client.head("/api/many", headers={"Accept": "text/csv"})
    assert (head.status_code, head.content) == (200, b"")


async def test_long_answers_are_bounded_in_number_and_end_when_their_readers_leave(api: Api) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(half_read(api))
        refused = await api.get("/api/many", Accept="text/csv")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        assert (await api.get("/api/orders")).status_code == 200

    async def free() -> bool:
        return (await api.get("/api/many?id=1", Accept="text/csv")).status_code == 200

    await until(free, what="the end of the answers that nobody reads")


def half_read(api: Api) -> AbstractAsyncContextManager[httpx.Response]:
    """An answer of 60 MB of which nothing is read on."""
    return api.client.stream("GET", "/api/many", headers={"Accept": "application/x-ndjson"})


async def price_of(api: Api) -> float:
    return float((await api.json("/api/orders/1?fields=price"))["price"])
