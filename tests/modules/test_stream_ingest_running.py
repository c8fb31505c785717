"""The module in the worker that ships: from the bus into table, lake and quarantine, and out again as announcements."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapters.bus.memory.log import MemoryLog
from adapters.clock.system import SystemClock
from adapters.database.postgres import PostgresDb
from adapters.files.local import LocalFiles
from contracts.errors import Faults
from contracts.event import Event
from contracts.stream_ingest import BATCH_LANDED, BatchLanded, RunStreamIngest
from modules.stream_ingest import module
from tests.kit.catalog import DeclaredCatalog
from tests.kit.harness import HarnessBus, Running, harness
from tests.modules.stream_ingest_kit import declared, order

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

NUMBERS = range(1, 501)


def running(db: PostgresDb, root: Path, *events: Event, log: MemoryLog | None = None) -> Any:
    bus = HarnessBus(SystemClock(), log) if log else None
    return harness(module, db=db, files=LocalFiles(root), catalog=DeclaredCatalog(*events), bus=bus)


async def publish(to: Running, *messages: bytes) -> None:
    for number, message in enumerate(messages):
        await to.publish("orders.placed", message, key=f"k{number % 20}")


async def test_events_land_in_table_lake_and_quarantine(db: PostgresDb, tmp_path: Path) -> None:
    now = SystemClock().now()
    lake = {"path": "lake", "wait_s": 1}
    event = declared({"table": "shop.orders", "lake": lake, "rows": 50, "wait_s": 0.1, "announce": "batches"})
    async with running(db, tmp_path, event) as ingest:
        await publish(ingest, *(order(number, at=now) for number in NUMBERS), b"no order")
        await ingest.settled()
        assert await db.fetch_value("select count(distinct order_id) from shop.orders") == len(NUMBERS)
        assert await db.fetch_value("select count(*) from shop.orders") == len(NUMBERS)
        # Nothing more comes, so each partition's file is written by the clock.
        await ingest.until(lambda: _listed(db, len(NUMBERS)), what="the files")
        await ingest.settled()
        landed = ingest.emitted(BATCH_LANDED, BatchLanded)
        assert await ingest.dead_letters() == []
    assert sum(one.rows for one in landed if one.table) == len(NUMBERS)
    assert sum(one.rows for one in landed if one.files) == len(NUMBERS)
    manifest = {row["path"] for row in await db.fetch("select path from millrace.lake_files")}
    assert manifest == {path for one in landed for path in one.files}
    assert manifest == {info.path async for info in LocalFiles(tmp_path).list()}
    refused = await db.fetch("select dataset, file, raw from millrace.quarantine")
    assert [tuple(row.values()) for row in refused] == [("order_placed", "orders.placed", "***")]
    assert await db.fetch_value("select count(*) from millrace.states") == 0


async def test_what_waits_for_its_file_is_kept_for_the_next_worker(db: PostgresDb, tmp_path: Path) -> None:
    now, log = SystemClock().now(), MemoryLog(SystemClock())
    patient = declared({"lake": {"path": "lake", "wait_s": 3600}, "wait_s": 0.1})
    async with running(db, tmp_path, patient, log=log) as ingest:
        await publish(ingest, *(order(number, at=now) for number in NUMBERS))
        await ingest.settled()
    assert await db.fetch_value("select count(*) from millrace.lake_files") == 0
    hasty = declared({"lake": {"path": "lake", "wait_s": 0.1}, "wait_s": 0.1})
    async with running(db, tmp_path, hasty, log=log) as ingest:
        await ingest.until(lambda: _listed(db, len(NUMBERS)), what="the files")
    assert await db.fetch_value("select count(*) from millrace.states") == 0


async def test_a_message_that_only_the_table_refuses_is_buried_alone(db: PostgresDb, tmp_path: Path) -> None:
    now = SystemClock().now()
    await db.execute(
        "create table orders (order_id bigint check (order_id <> 7), customer text, placed_at timestamptz,"
        " amount numeric)"
    )
    async with running(db, tmp_path, declared({"table": "orders", "rows": 100, "wait_s": 0.1})) as ingest:
        await publish(ingest, *(order(number, at=now) for number in NUMBERS))
        await ingest.settled()
        assert len(await ingest.dead_letters("orders.placed")) == 1
    assert await db.fetch_value("select count(*) from orders") == len(NUMBERS) - 1


async def test_a_table_that_does_not_fit_keeps_the_worker_from_starting(db: PostgresDb, tmp_path: Path) -> None:
    await db.execute("create table orders (order_id text)")
    with pytest.raises(Exception, match="order_id is text, the event declares bigint") as caught:
        async with running(db, tmp_path, declared({"table": "orders"})):
            pass
    assert isinstance(caught.value, Faults) or caught.group_contains(Faults)


async def test_a_worker_has_the_routes_of_its_arguments(db: PostgresDb, tmp_path: Path) -> None:
    configured = module.configured(
        DeclaredCatalog(declared({"table": "orders"})), RunStreamIngest(topic="orders.placed", batch_size=3)
    )
    async with harness(configured, db=db, files=LocalFiles(tmp_path)) as ingest:
        await publish(ingest, *(order(number, at=SystemClock().now()) for number in NUMBERS))
        await ingest.settled()
    assert await db.fetch_value("select count(*) from orders") == len(NUMBERS)


async def test_a_worker_without_events_says_so(db: PostgresDb, tmp_path: Path) -> None:
    async with running(db, tmp_path) as ingest:
        said = [line["message"] for line in ingest.lines()]
    assert any(message.startswith("no event lands") for message in said)


async def _listed(db: PostgresDb, rows: int) -> bool:
    return bool(await db.fetch_value("select coalesce(sum(rows), 0) = $1 from millrace.lake_files", rows))
