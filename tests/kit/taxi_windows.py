"""Windows over the taxi trips of the reference data: what is declared, what is published, and what has to come out."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from adapters.catalog.yaml_files import YamlCatalog
from adapters.database.postgres import PostgresDb
from contracts.aggregation import Aggregation, Condition, Hopping, Measure, Results, Tumbling
from contracts.event import Event

ROOT = Path(__file__).parents[2]
FILE = "nyc_tlc/yellow_tripdata_sample_2019-01.csv"
ANSWERS = "expected/windows_tlc_2019_01.json"
WHOLE = ("vendor_id", "passenger_count", "rate_code_id", "pickup_location_id", "dropoff_location_id", "payment_type")
KEY = "pickup_location_id"
MONTH_S = 40 * 86400.0

Window = tuple[int, int, Decimal, Decimal, Decimal]
"""How many trips, and of their value how many, the sum, the least and the greatest."""


def trip_event(topic: str = "trips", **changes: Any) -> Event:
    """As the example catalog has it; the same trip that comes again under its id counts once."""
    event = YamlCatalog(ROOT / "catalog").event("trip")
    return msgspec.structs.replace(event, topic=topic, dedupe_s=3600.0, **changes)


def aggregation(name: str, answer: Mapping[str, Any]) -> Aggregation:
    """As the answer was computed. Whatever the order, no trip is too late; open windows are in the table, too."""
    size_s, every_s, value = answer["size_seconds"], answer["hop_seconds"], answer["value_column"]
    hops = size_s != every_s
    made = Aggregation(
        name=name,
        event="trip",
        key=(KEY,),
        window=Hopping(size_s=size_s, every_s=every_s) if hops else Tumbling(size_s=size_s),
        measures=(
            Measure(name="n", kind="count"),
            Measure(name="n_value", kind="count", of=value),
            Measure(name="total", kind="sum", of=value),
            Measure(name="least", kind="min", of=value),
            Measure(name="most", kind="max", of=value),
        ),
        # The hopping windows of the reference are those of two days.
        where=tuple(
            Condition(column="pickup_datetime", op=op, value=day)  # type: ignore[arg-type]
            for op, day in ((">=", "2019-01-10"), ("<", "2019-01-12"))
            if hops
        ),
        to=Results(table=name, changes=True),
        lateness_s=MONTH_S,
        idle_s=None,
    )
    assert made.faults(trip_event()) == []
    return made


def answers(reference: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((reference / ANSWERS).read_text(encoding="utf-8"))
    return found


def trips(reference: Path) -> list[tuple[str, bytes]]:
    """Key and message of each, in the order of the file."""
    with (reference / FILE).open(encoding="utf-8", newline="") as file:
        return [_message(row) for row in csv.DictReader(file)]


def _message(row: Mapping[str, str]) -> tuple[str, bytes]:
    trip: dict[str, Any] = {name: value for name, value in row.items() if value != ""}
    trip |= {name: int(trip[name]) for name in WHOLE if name in trip}
    trip |= {name: trip[name].replace(" ", "T") for name in ("pickup_datetime", "dropoff_datetime")}
    return row[KEY], json.dumps(trip).encode()


def expected(answer: Mapping[str, Any]) -> dict[str, Window]:
    return {
        one["window_start"]: (
            one["n"],
            one["n_value"],
            Decimal(one["sum_exact"]),
            Decimal(str(one["min"])),
            Decimal(str(one["max"])),
        )
        for one in answer["windows"]
    }


async def found(db: PostgresDb, table: str) -> dict[str, Window]:
    """The windows of all keys together."""
    start = "to_char(window_start at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS') as start"
    counts = "sum(n)::bigint as n, sum(n_value)::bigint as n_value"
    values = "sum(total) as total, min(least) as least, max(most) as most"
    rows = await db.fetch(f'select {start}, {counts}, {values} from "{table}" group by 1')  # noqa: S608 - a name of ours
    return {row["start"]: (row["n"], row["n_value"], row["total"], row["least"], row["most"]) for row in rows}


def differences(ours: Mapping[str, Window], theirs: Mapping[str, Window]) -> Iterable[str]:
    """What to look at first; none when they are equal."""
    return [
        f"{start}: {ours.get(start)} is to be {theirs.get(start)}"
        for start in sorted({*ours, *theirs})
        if ours.get(start) != theirs.get(start)
    ][:5]
