"""Rows as the bytes of a file: Parquet, JSON Lines or CSV, as `batch_etl` and everybody else reads them.

Columns stand under their declared names. A decimal keeps its digits, an instant is in UTC, JSON is its text.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from contracts.dataset import Column

if TYPE_CHECKING:
    import pyarrow as pa

ENDINGS = {"parquet": "parquet", "json": "jsonl", "csv": "csv"}

Rows = Sequence[Sequence[Any]]
"""The values of each row, in the order of the columns."""


def encoded(form: str, columns: Sequence[Column], rows: Rows) -> bytes:
    """One whole file."""
    return _FORMS[form](columns, rows)


def _parquet(columns: Sequence[Column], rows: Rows) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = [
        pa.array(list(map(_shown(column), values)), type=_arrow(column))
        for column, values in zip(columns, zip(*rows, strict=True), strict=True)
    ]
    fields = [
        pa.field(column.name, _arrow(column), nullable=column.nullable and column.default is None) for column in columns
    ]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, schema=pa.schema(fields)), sink, compression="zstd")
    return sink.getvalue()


def _arrow(column: Column) -> pa.DataType:
    import pyarrow as pa

    types: dict[str, Callable[[], pa.DataType]] = {
        "int": pa.int64,
        "float": pa.float64,
        "decimal": lambda: pa.decimal128(column.precision, column.scale),
        "bool": pa.bool_,
        "date": pa.date32,
        "timestamp": lambda: pa.timestamp("us", tz="UTC"),
    }
    return types.get(column.type, pa.string)()


def _json_lines(columns: Sequence[Column], rows: Rows) -> bytes:
    names = [column.name for column in columns]
    # A number of JSON has as many digits as it needs; who reads it as a float does so by choice.
    encoder = msgspec.json.Encoder(decimal_format="number")
    at = [index for index, column in enumerate(columns) if column.type == "timestamp"]
    lines = []
    for row in rows:
        values = dict(zip(names, row, strict=True))
        values |= {names[index]: row[index].astimezone(UTC) for index in at if row[index] is not None}
        lines.append(values)
    return encoder.encode_lines(lines)


def _csv(columns: Sequence[Column], rows: Rows) -> bytes:
    """A null is nothing between two delimiters; an empty text is so, too: CSV has no other way to say either."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([column.name for column in columns])
    shows = [_text(column) for column in columns]
    writer.writerows(
        ["" if value is None else show(value) for show, value in zip(shows, row, strict=True)] for row in rows
    )
    return out.getvalue().encode()


def _shown(column: Column) -> Callable[[Any], Any]:
    """The value as Arrow takes it."""
    if column.type == "json":
        return lambda value: None if value is None else msgspec.json.encode(value).decode()
    if column.type == "uuid":
        return lambda value: None if value is None else str(value)
    return _same


def _text(column: Column) -> Callable[[Any], str]:
    shows: Mapping[str, Callable[[Any], str]] = {
        "json": lambda value: msgspec.json.encode(value).decode(),
        "bool": lambda value: "true" if value else "false",
        "float": repr,
        "decimal": lambda value: f"{value:f}",
        "timestamp": _instant,
        "date": lambda value: str(value.isoformat()),
    }
    return shows.get(column.type, str)


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat()


def _same(value: Any) -> Any:
    return value


_FORMS: Mapping[str, Callable[[Sequence[Column], Rows], bytes]] = {
    "parquet": _parquet,
    "json": _json_lines,
    "csv": _csv,
}
