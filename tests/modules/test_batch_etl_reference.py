"""The taxi file of the reference data, loaded as declared, gives the answers that other tools computed."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from adapters.catalog.yaml_files import YamlCatalog
from adapters.database.postgres import PostgresDb
from tests.modules.batch_etl_kit import Etl

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
FILE = "nyc_tlc/yellow_tripdata_sample_2019-01.csv"
AS_TEXT = """
create table tlc_2019_01 as
select vendor_id, passenger_count::text, payment_type::text, trip_distance, fare_amount, extra, mta_tax, tip_amount,
    tolls_amount, improvement_surcharge, total_amount, congestion_surcharge,
    to_char(pickup_datetime at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') as pickup_datetime,
    to_char(dropoff_datetime at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') as dropoff_datetime
from trips
"""


@pytest.fixture
def etl(db: PostgresDb, reference_data: Path) -> Etl:
    return Etl(db, reference_data)


@pytest.fixture
def expected(reference_data: Path) -> dict[str, Any]:
    answers = json.loads((reference_data / "expected/nyc_tlc_2019_01.json").read_text(encoding="utf-8"))
    table: dict[str, Any] = answers["tables"]["tlc_2019_01"]
    return table


async def test_the_taxi_file(etl: Etl, expected: dict[str, Any]) -> None:
    trips = YamlCatalog(ROOT / "catalog").dataset("trips")
    report = await etl.run(trips, source=FILE)
    assert (report.read, report.loaded, report.rejected) == (expected["rows"], expected["distinct_full_rows"], 0)
    assert [column.name for column in trips.columns] == list(expected["column_profile"])
    for name, profile in expected["column_profile"].items():
        sql = f"select count(*) filter (where {name} is null) as nulls, count(distinct {name}) as several from trips"  # noqa: S608
        assert await etl.rows(sql) == [(profile["nulls"], profile["distinct"])], name
    for name, sums in expected["exact_decimal_sums"].items():
        sql = f"select count({name}), sum({name}), min({name}), max({name}) from trips"  # noqa: S608
        assert await etl.rows(sql) == [(sums["count"], *(Decimal(sums[each]) for each in ("sum", "min", "max")))], name
    for key in expected["keys"]:
        sql = f"select count(*) from (select distinct {', '.join(key['columns'])} from trips) d"  # noqa: S608
        assert await etl.rows(sql) == [(key["distinct_keys"],)]
    for name, frequencies in expected["frequencies"].items():
        sql = f"select {name}::text, count(*) from trips group by 1"  # noqa: S608
        assert dict(await etl.rows(sql)) == frequencies


async def test_its_answers(etl: Etl, expected: dict[str, Any]) -> None:
    await etl.run(YamlCatalog(ROOT / "catalog").dataset("trips"), source=FILE)
    await etl.db.execute(AS_TEXT)
    for name, answer in expected["answers"].items():
        sql = answer["sql"].replace("::double", "::double precision").replace("epoch(", "date_part('epoch', ")
        rows = await etl.db.fetch(sql)
        result = answer["result"]
        if isinstance(result, list):
            assert [dict(row) for row in rows] == result, name
        else:
            assert [next(iter(row.values())) for row in rows] == [result], name
