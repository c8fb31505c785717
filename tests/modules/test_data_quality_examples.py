"""The suites that come with the product do what their comments say, on the files that come with it."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import pytest

from adapters.catalog.yaml_files import YamlCatalog
from adapters.database.postgres import PostgresDb
from adapters.files.local import LocalFiles
from contracts.data_quality import ListQuality, ShowFailures
from modules import data_quality
from modules.data_quality.module import list_quality, show_failures
from tests.kit.harness import Running, harness
from tests.modules.batch_etl_kit import Etl
from tests.modules.quality_kit import report_of
from tests.modules.stream_ingest_kit import Lander

pytestmark = [pytest.mark.anyio, pytest.mark.integration, pytest.mark.usefixtures("unwatched")]

ROOT = Path(__file__).parents[2]
CATALOG = YamlCatalog(ROOT / "catalog")


@pytest.fixture
def etl(db: PostgresDb, tmp_path: Path) -> Etl:
    shutil.copytree(ROOT / "examples", tmp_path, dirs_exist_ok=True)
    return Etl(db, tmp_path)


@pytest.fixture
async def running(etl: Etl) -> AsyncIterator[Running]:
    async with harness(data_quality.module, db=etl.db, catalog=CATALOG, files=LocalFiles(etl.root)) as made:
        yield made


async def test_orders(etl: Etl, running: Running) -> None:
    await etl.run(CATALOG.dataset("customers"))
    await etl.run(CATALOG.dataset("orders"), from_date=date(2026, 1, 13), to_date=date(2026, 1, 15))
    for day, change, orphans in ((date(2026, 1, 13), None, 1), (date(2026, 1, 14), 0, 0)):
        report = await report_of(running, "orders", day)
        bad = {one.name: one.value for one in report.checks if one.verdict != "pass"}
        assert bad == ({"references_customer_id": orphans} if orphans else {})
        assert [one.value for one in report.checks if one.check == "row_change"] == [change]
    shown = await show_failures(ShowFailures(suite="orders"), etl.db)
    assert "example.org" not in str(shown)
    assert [(line.name, line.verdict) for line in await list_quality(ListQuality(), etl.db, CATALOG)] == [
        ("orders", "pass"), ("orders_placed", None), ("trips", None),
    ]  # fmt: skip


async def test_trips(etl: Etl, running: Running) -> None:
    await etl.run(CATALOG.dataset("trips"), date=date(2019, 1, 15))
    report = await report_of(running, "trips")
    bad = {one.name: one.verdict for one in report.checks if one.verdict != "pass"}
    assert bad == {}, bad


async def test_the_lake_of_orders(etl: Etl, running: Running) -> None:
    ingest = Lander(etl.db, etl.root, CATALOG.event("order_placed"))
    await ingest.prepare()
    await ingest.wait(2 * 86400)  # the orders are of these days
    await ingest.land(*(etl.root / "shop/orders-placed.jsonl").read_bytes().splitlines())
    await ingest.wait(301)
    await ingest.tick()
    report = await report_of(running, "orders_placed")
    bad = {one.name: (one.verdict, one.value, one.of) for one in report.checks if one.verdict != "pass"}
    assert bad == {"unique_order_id": ("warn", 2, 498)}
