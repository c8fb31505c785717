"""The resources that are in the catalog, over the tables that the other examples make."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.catalog.yaml_files import YamlCatalog
from adapters.database.postgres import PostgresDb
from modules.batch_etl import module as batch_etl
from modules.metric_aggregator.table import ResultTable
from tests.modules.gateway_kit import serving

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

ROOT = Path(__file__).parents[2]


async def test_they_can_be_read(db: PostgresDb, database_url: str, tmp_path: Path) -> None:
    catalog = YamlCatalog(ROOT / "catalog")
    windows = catalog.aggregation("trips_by_zone")
    async with serving(
        database_url, tmp_path, catalog=catalog, more=(batch_etl,), FS_LOCAL_ROOT=str(ROOT / "examples")
    ) as api:
        assert len(api.log_lines("a resource can't be read yet")) == len(catalog.resources())
        await api.done("run.batch_etl", {"dataset": "orders", "from_date": "2026-01-13", "to_date": "2026-01-15"})
        await api.done("run.batch_etl", {"dataset": "trips", "date": "2019-01-15"})
        orders = await api.json("/api/orders?sku=A-001&price.gte=10&sort=-ordered_at&limit=5")
        assert orders["data"]
        assert all(row["sku"] == "A-001" and row["price"] >= 10 for row in orders["data"])
        assert "customer_id" not in orders["data"][0]
        csv = await api.get("/api/trips?fields=total_amount", Accept="text/csv")
        assert len(csv.text.splitlines()) == 1 + 1491
        await db.execute(ResultTable(windows, catalog.event("trip"), "metrics.trips_by_zone").definition())
        assert await api.json("/api/trips_by_zone?closed=true&window_start.gt=2019-01-01T00:00:00Z") == {
            "data": [],
            "next": None,
        }
        first = (await api.json("/api/trips?limit=1"))["data"][0]
        key = ",".join(str(first[name]).replace("+", "%2B") for name in catalog.resource("trips").key)
        assert await api.json(f"/api/trips/{key}") == first
