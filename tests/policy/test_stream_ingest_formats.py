"""Rows as files: what comes back is what was put in, in all three formats."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from contracts.dataset import Column
from modules.stream_ingest.formats import encoded

COLUMNS = (
    Column(name="a_text"),
    Column(name="an_int", type="int"),
    Column(name="a_float", type="float"),
    Column(name="a_decimal", type="decimal", precision=20, scale=4),
    Column(name="a_bool", type="bool"),
    Column(name="a_date", type="date"),
    Column(name="a_time", type="timestamp", nullable=False),
    Column(name="a_json", type="json"),
    Column(name="a_uuid", type="uuid"),
)
ZONES = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))])
ROWS = st.lists(
    st.tuples(
        st.none() | st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1),
        st.none() | st.integers(-(1 << 63), (1 << 63) - 1),
        st.none() | st.floats(allow_nan=False, allow_infinity=False),
        st.none() | st.decimals(-(10**15), 10**15, places=4),
        st.none() | st.booleans(),
        st.none() | st.dates(),
        st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=ZONES),  # noqa: DTZ001 - the zone is beside
        st.none() | st.dictionaries(st.text("ab"), st.integers(0, 9) | st.lists(st.booleans()), max_size=3),
        st.none() | st.uuids(),
    ),
    min_size=1,
    max_size=5,
)


@given(rows=ROWS)
def test_parquet(rows: list[tuple[Any, ...]]) -> None:
    table = pq.read_table(io.BytesIO(encoded("parquet", COLUMNS, rows)))
    assert table.schema.types[1:7] == [
        pa.int64(), pa.float64(), pa.decimal128(20, 4), pa.bool_(), pa.date32(), pa.timestamp("us", tz="UTC"),
    ]  # fmt: skip
    assert [tuple(row[column.name] for column in COLUMNS) for row in table.to_pylist()] == [
        (*row[:7], _json(row[7]), _str(row[8])) for row in rows
    ]


@given(rows=ROWS)
def test_json_lines(rows: list[tuple[Any, ...]]) -> None:
    lines = encoded("json", COLUMNS, rows).decode().removesuffix("\n").split("\n")
    found = [json.loads(line, parse_float=Decimal) for line in lines]
    assert [list(one) for one in found] == [[column.name for column in COLUMNS]] * len(rows)
    for one, row in zip(found, rows, strict=True):
        values = list(one.values())
        assert values[:2] == list(row[:2])
        assert (None if values[2] is None else float(values[2])) == row[2]
        assert (None if values[3] is None else Decimal(values[3])) == row[3]
        assert values[4] == row[4]
        assert (values[5] and date.fromisoformat(values[5])) == row[5]
        assert datetime.fromisoformat(values[6]) == row[6]
        assert values[7:] == [row[7], _str(row[8])]


@given(rows=ROWS)
def test_csv(rows: list[tuple[Any, ...]]) -> None:
    reader = csv.reader(io.StringIO(encoded("csv", COLUMNS, rows).decode(), newline=""))
    assert next(reader) == [column.name for column in COLUMNS]
    for found, row in zip(reader, rows, strict=True):
        values = [value or None for value in found]
        assert values[0] == row[0]
        assert (None if values[1] is None else int(values[1])) == row[1]
        assert (None if values[2] is None else float(values[2])) == row[2]
        assert (None if values[3] is None else Decimal(values[3])) == row[3]
        assert values[4] == {None: None, True: "true", False: "false"}[row[4]]
        assert (values[5] and date.fromisoformat(values[5])) == row[5]
        assert datetime.fromisoformat(values[6] or "") == row[6]
        assert values[7:] == [_json(row[7]), _str(row[8])]


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _str(value: UUID | None) -> str | None:
    return None if value is None else str(value)
