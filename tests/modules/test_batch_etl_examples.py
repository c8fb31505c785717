"""The declarations and files that come with the product do what their comments say."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from adapters.catalog.declaration import declaration_of
from adapters.catalog.kinds import DATASET
from adapters.catalog.yaml_files import YamlCatalog
from adapters.database.postgres import PostgresDb
from contracts.batch_etl import (
    CheckDataset,
    ExportQuarantine,
    InferDataset,
    ListDatasets,
    ListQuarantine,
    ShowQuarantined,
)
from contracts.errors import BadInput, NotFound
from modules.batch_etl import module as declared_module
from modules.batch_etl.module import (
    check_dataset,
    export_quarantine,
    infer_dataset,
    list_datasets,
    list_quarantine,
    show_quarantined,
)
from tests.modules.batch_etl_kit import Etl, adds_up

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
CATALOG = YamlCatalog(ROOT / "catalog")


@pytest.fixture
def etl(db: PostgresDb, tmp_path: Path) -> Etl:
    shutil.copytree(ROOT / "examples", tmp_path, dirs_exist_ok=True)
    return Etl(db, tmp_path)


async def test_trips(etl: Etl) -> None:
    trips = CATALOG.dataset("trips")
    report = await etl.run(trips, date=date(2019, 1, 15))
    assert (report.read, report.loaded, report.duplicate, report.rejected) == (1525, 1491, 25, 9)
    report = await etl.run(trips, from_date=date(2019, 1, 14), to_date=date(2019, 1, 16))
    assert (report.files_read, report.files_skipped, report.rejected) == (2, 1, 18)
    assert adds_up(report)


async def test_orders(etl: Etl) -> None:
    orders = CATALOG.dataset("orders")
    asked = {"from_date": date(2026, 1, 13), "to_date": date(2026, 1, 15)}
    report = await etl.run(orders, **asked)  # type: ignore[arg-type]
    assert (report.read, report.loaded, report.duplicate, report.rejected) == (612, 597, 3, 12)
    assert await etl.rows("select count(*) from shop.orders where note like E'%\\n%'") != [(0,)]
    assert all("***" in raw for *_, raw in await etl.quarantine(orders))


async def test_customers(etl: Etl) -> None:
    customers = CATALOG.dataset("customers")
    report = await etl.run(customers)
    assert (report.read, report.loaded, report.duplicate, report.rejected) == (301, 297, 1, 3)
    assert await etl.rows("select count(*) from shop.customers where name like '%ř%'") != [(0,)]
    shown = "".join(raw for *_, raw in await etl.quarantine(customers))
    assert "example.org" not in shown


async def test_products(etl: Etl) -> None:
    products = CATALOG.dataset("products")
    report = await etl.run(products)
    assert (report.read, report.loaded, report.rejected) == (60, 59, 1)
    report = await etl.run(products, force=True)
    assert (report.loaded, report.removed) == (59, 59)


def test_the_files_are_those_that_the_script_makes(tmp_path: Path) -> None:
    """Parquet aside, which names the version that wrote it."""
    shutil.copy(ROOT / "examples/generate.py", tmp_path)
    subprocess.run([sys.executable, tmp_path / "generate.py"], check=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT)})
    made = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    data = [path for folder in ("shop", "trips") for path in (ROOT / "examples" / folder).iterdir()]
    assert made == {path.relative_to(ROOT / "examples") for path in data} | {Path("generate.py")}
    for path in made:
        if path.suffix != ".parquet":
            assert (tmp_path / path).read_bytes() == (ROOT / "examples" / path).read_bytes(), path


async def test_each_is_checked_without_a_trace(etl: Etl) -> None:
    for name, day in (
        ("trips", date(2019, 1, 15)),
        ("orders", date(2026, 1, 13)),
        ("customers", None),
        ("products", None),
    ):
        found = await check_dataset(CheckDataset(dataset=name, date=day), etl.db, etl.files, CATALOG)
        assert found.read > 50
        assert 0 < found.rejected < 10
        assert found.rejected <= sum(found.rejected_by_reason.values())
        assert len(found.examples) == found.rejected
        assert found.table_changes[-1].startswith("create table")
    assert await etl.rows("select count(*) from pg_class where relname in ('trips', 'orders', 'customers')") == [(0,)]
    found = await check_dataset(CheckDataset(dataset="trips", date=date(2019, 1, 15)), etl.db, etl.files, CATALOG)
    assert (found.examples[0].file, found.examples[0].line) == ("trips/2019-01-15.csv", 142)
    assert found.examples[0].reasons == ("row has 7 fields, 18 expected",)


@pytest.mark.parametrize(
    "path", ["trips/2019-01-15.csv", "shop/orders-20260113.csv", "shop/customers.jsonl.gz", "shop/products.parquet"]
)
async def test_a_draft_can_be_used_as_it_is(etl: Etl, path: str) -> None:
    draft = await infer_dataset(InferDataset(file=path, name="drafted"), etl.files)
    dataset = declaration_of(DATASET, draft.encode(), file="drafted.yaml", name="drafted")
    known = await etl.run(dataset, source=path)
    assert known.read > 50
    assert known.rejected <= known.read // 20


async def test_a_file_beside_the_root_can_be_looked_into(etl: Etl, tmp_path_factory: pytest.TempPathFactory) -> None:
    beside = tmp_path_factory.mktemp("beside") / "things-2025-01-31.csv.gz"
    beside.write_bytes(gzip.compress(b"id,name\n1,a\n2,b\n"))
    draft = await infer_dataset(InferDataset(file=str(beside)), etl.files)
    dataset = declaration_of(DATASET, draft.encode(), file="things.yaml", name="things")
    assert (dataset.source, dataset.key) == ("things-{date}.csv.gz", ("id",))
    assert "is not under the files root" in draft
    for path, message in (("nowhere.csv", "there is no file 'nowhere.csv'"), ("trips", "trips is a directory")):
        with pytest.raises(BadInput, match=message):
            await infer_dataset(InferDataset(file=path), etl.files)


async def test_rejected_rows_are_listed_shown_and_exported(etl: Etl) -> None:
    await etl.run(CATALOG.dataset("customers"))
    await etl.run(CATALOG.dataset("products"))
    rows = await list_quarantine(ListQuarantine(), etl.db)
    assert [row.dataset for row in rows] == ["products", "customers", "customers", "customers"]
    assert rows[0].reasons == ("column price: '-1.00' is below min, 0",)
    assert await list_quarantine(ListQuarantine(dataset="customers", limit=2), etl.db) == rows[1:3]
    assert await show_quarantined(ShowQuarantined(id=rows[1].id), etl.db) == rows[1]
    with pytest.raises(NotFound, match="there is no rejected row 999999"):
        await show_quarantined(ShowQuarantined(id=999_999), etl.db)
    done = await export_quarantine(ExportQuarantine(dataset="customers", to="out/bad.jsonl"), etl.db, etl.files)
    assert done.rows == 3
    assert (etl.root / "out/bad.jsonl").read_bytes().count(b"\n") == 3


async def test_datasets_are_listed(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "catalog", tmp_path, dirs_exist_ok=True)
    (tmp_path / "datasets/broken.yaml").write_text("name: broken\n", encoding="utf-8")
    found = await list_datasets(ListDatasets(), YamlCatalog(tmp_path))
    assert [line.name for line in found] == ["broken", "customers", "orders", "orders_by_day", "products", "trips"]
    assert found[0].fault
    assert (found[2].format, found[2].mode, found[2].table) == ("csv", "replace", "shop.orders")


def test_what_the_module_declares() -> None:
    assert [tool.name for tool in declared_module.tools] == [
        "datasets list", "datasets check", "datasets infer", "quarantine list", "quarantine show", "quarantine export",
    ]  # fmt: skip
    (route,) = declared_module.routes
    assert (route.address, route.overrun) == ("run.batch_etl", "checkpoint")


def test_importing_the_module_is_light() -> None:
    """A worker starts before Polars would be imported."""
    code = "import sys, modules.batch_etl; sys.exit(any(m in sys.modules for m in ('polars', 'pyarrow', 'anyio')))"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
