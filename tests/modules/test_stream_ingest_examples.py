"""The example event, from the file of its messages to table and lake, and on by `batch_etl`."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import msgspec
import pytest

from adapters.catalog.yaml_files import YamlCatalog
from adapters.database.postgres import PostgresDb
from adapters.files.local import LocalFiles
from modules.stream_ingest import module
from tests.kit.catalog import DeclaredCatalog
from tests.kit.harness import harness
from tests.modules.batch_etl_kit import Etl

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

ROOT = Path(__file__).parents[2]
CATALOG = YamlCatalog(ROOT / "catalog")
MESSAGES = (ROOT / "examples/shop/orders-placed.jsonl").read_bytes().splitlines()


async def test_orders_are_placed(db: PostgresDb, tmp_path: Path) -> None:
    event = CATALOG.event("order_placed")
    assert event.land is not None
    assert event.land.lake is not None
    soon = msgspec.structs.replace(event.land, wait_s=0.1, lake=msgspec.structs.replace(event.land.lake, wait_s=0.1))
    catalog = DeclaredCatalog(msgspec.structs.replace(event, land=soon))

    async def all_in_files() -> bool:
        return bool(await db.fetch_value("select coalesce(sum(rows), 0) = 498 from millrace.lake_files"))

    async with harness(module, db=db, files=LocalFiles(tmp_path), catalog=catalog) as running:
        await running.publish("orders.placed", *MESSAGES, key="K0001")
        await running.settled()
        await running.until(all_in_files, what="the files")
    assert await db.fetch_value("select count(*) from shop.orders_placed") == 497
    refused = await db.fetch("select reasons from millrace.quarantine order by line")
    assert [(row["reasons"][0]["column"], row["reasons"][0]["code"]) for row in refused] == [
        ("customer_id", "not allowed"),
        ("amount", "not allowed"),
        ("", "not json"),
    ]
    report = await Etl(db, tmp_path).run(CATALOG.dataset("orders_by_day"), date=date(2026, 1, 15))
    assert (report.read, report.loaded, report.duplicate) == (498, 497, 1)
    same = "select count(*) from shop.orders_by_day join shop.orders_placed using (order_id, amount, channel, currency)"
    assert await db.fetch_value(same) == 497
