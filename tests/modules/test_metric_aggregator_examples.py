"""The example aggregation of the catalog over the example trips, held against the same windows in plain Python."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from adapters.catalog.yaml_files import YamlCatalog
from adapters.database.postgres import PostgresDb
from contracts.metric_aggregator import WindowResult
from modules.metric_aggregator import module
from tests.kit.catalog import DeclaredCatalog
from tests.kit.harness import harness

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

ROOT = Path(__file__).parents[2]
CATALOG = YamlCatalog(ROOT / "catalog")
WHOLE = ("vendor_id", "passenger_count", "rate_code_id", "pickup_location_id", "dropoff_location_id", "payment_type")


def trips() -> list[dict[str, Any]]:
    """Of one day, as they began. Some are wrong, as in the file; the decoder refuses them."""
    with (ROOT / "examples/trips/2019-01-14.csv").open(encoding="utf-8", newline="") as file:
        rows = [{name: value for name, value in row.items() if value} for row in csv.DictReader(file)]
    for row in rows:
        row |= {name: int(row[name]) for name in WHOLE if row.get(name, "").isdigit()}
        row |= {name: row[name].replace(" ", "T") for name in ("pickup_datetime", "dropoff_datetime") if name in row}
    keyed = [row for row in rows if "pickup_location_id" in row and "pickup_datetime" in row]
    return sorted(keyed, key=lambda row: row["pickup_datetime"])


async def test_trips_by_zone(db: PostgresDb) -> None:
    declared, event = CATALOG.aggregation("trips_by_zone"), CATALOG.event("trip")
    given = trips()
    async with harness(module, db=db, catalog=DeclaredCatalog(event, declared)) as running:
        for trip in given:
            await running.publish("trips", json.dumps(trip).encode(), key=str(trip["pickup_location_id"]))
        # A trip of the next day in each zone closes the windows of this one, wherever the zone's partition is.
        for zone in sorted({trip["pickup_location_id"] for trip in given}):
            last = given[-1] | {"pickup_location_id": zone, "pickup_datetime": "2019-01-15T12:00:00"}
            await running.publish("trips", json.dumps(last).encode(), key=str(zone))
        await running.settled()
        buried = await running.dead_letters()
        told = running.emitted("trips.by_zone", WindowResult)
    refused = {json.dumps(json.loads(letter.body)) for letter in buried}
    expected: dict[tuple[int, str], list[dict[str, Any]]] = defaultdict(list)
    for trip in given:
        if json.dumps(trip) not in refused and Decimal(trip.get("trip_distance", "0")) > 0:
            expected[trip["pickup_location_id"], trip["pickup_datetime"][:16]].append(trip)
    rows = await db.fetch(
        "select pickup_location_id, to_char(window_start at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI') as minute,"
        " trips, takings, events from metrics.trips_by_zone where window_start < '2019-01-15T12:00:00Z'"
    )
    found = {(row["pickup_location_id"], row["minute"]): (row["trips"], row["takings"], row["events"]) for row in rows}
    assert len(expected) > 500
    assert found == {
        where: (len(those), sum(Decimal(one["total_amount"]) for one in those), len(those))
        for where, those in expected.items()
    }
    assert len({(one.key["pickup_location_id"], one.window_start) for one in told}) == len(found)
