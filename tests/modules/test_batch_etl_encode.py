"""Whatever way the rows are sent, the table holds what was read."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from adapters.database.postgres import PostgresDb
from contracts.dataset import Column
from contracts.sql import column_type
from modules.batch_etl import encode
from modules.batch_etl.cast import dtype
from tests.modules.batch_etl_kit import Etl, declared

pytestmark = pytest.mark.anyio

TEXTS = [
    "",
    "\\.",
    "\\N",
    '"',
    '""',
    ",",
    "\n",
    "\r",
    "\r\n",
    "NULL",
    " ",
    "\\",
    "a\n\\.\nb",
    "😀",
    "\x01\x7f",
    "é" * 5000,
]
VALUES: dict[str, tuple[Column, list[Any]]] = {
    "text": (Column(name="a"), TEXTS),
    "int": (Column(name="b", type="int"), [0, -1, 2**63 - 1, -(2**63)]),
    "float": (Column(name="c", type="float"), [0.0, 0.1, 1e-320, -1.7e308, math.nan, math.inf, -math.inf]),
    "decimal": (
        Column(name="d", type="decimal", precision=38, scale=10),
        [Decimal(0), Decimal("0.0000000001"), Decimal("-" + "9" * 28 + "." + "9" * 10), Decimal("10000.00001")],
    ),
    "whole decimal": (Column(name="h", type="decimal", precision=5, scale=0), [Decimal(99999), Decimal(-10000)]),
    "fraction": (Column(name="i", type="decimal", precision=5, scale=5), [Decimal("0.99999"), Decimal("-0.00001")]),
    "bool": (Column(name="e", type="bool"), [True, False]),
    "date": (Column(name="f", type="date"), [date(1, 1, 1), date(9999, 12, 31), date(2000, 1, 1), date(1999, 12, 31)]),
    "timestamp": (
        Column(name="g", type="timestamp"),
        [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, UTC)],
    ),
}  # fmt: skip


async def sent(db: PostgresDb, columns: list[Column], rows: list[tuple[Any, ...]], way: str) -> list[tuple[Any, ...]]:
    frame = pl.DataFrame(rows, schema={column.name: dtype(column) for column in columns}, orient="row")
    names = [column.name for column in columns]
    typed = ", ".join(f"{column.name} {column_type(column)}" for column in columns)
    await db.execute(f"create table sent (at int generated always as identity, {typed})")
    by = encode.encoder(columns, exact=way == "binary")
    assert by.form == way

    async def frames() -> AsyncIterator[pl.DataFrame]:
        yield frame

    assert await db.copy_in("sent", encode.encoded(frames(), by), columns=names, format=by.form) == len(rows)
    found = await db.fetch(f"select {', '.join(names)} from sent order by at")  # noqa: S608
    return [tuple(row.values()) for row in found]


def plain(rows: list[tuple[Any, ...]]) -> list[list[str]]:
    """Equal where the values are: NaN too, and a decimal however many zeros it ends in."""
    return [[f"{value:.10f}" if isinstance(value, Decimal) else repr(value) for value in row] for row in rows]


@pytest.mark.parametrize("way", ["binary", "csv"])
@pytest.mark.parametrize("kind", VALUES)
async def test_a_value_alone(db: PostgresDb, way: str, kind: str) -> None:
    column, values = VALUES[kind]
    rows = [(value,) for value in [*values, None, *values]]
    assert plain(await sent(db, [column], rows, way)) == plain(rows)


@pytest.mark.parametrize("way", ["binary", "csv"])
async def test_values_beside_each_other(db: PostgresDb, way: str) -> None:
    columns = [column for column, _ in VALUES.values()]
    longest = max(len(values) for _, values in VALUES.values())
    rows = [tuple(values[at % len(values)] for _, values in VALUES.values()) for at in range(longest)]
    rows.append(tuple(None for _ in columns))
    assert plain(await sent(db, columns, rows, way)) == plain(rows)


@pytest.mark.parametrize("way", ["binary", "csv"])
async def test_no_row_at_all(db: PostgresDb, way: str) -> None:
    assert await sent(db, [VALUES["int"][0]], [], way) == []


async def test_json_and_uuid_are_loaded(db: PostgresDb, tmp_path: Path) -> None:
    etl = Etl(db, tmp_path)
    etl.put("a.csv", 'j,u\n"{""a"": ""\\\\.""}",12345678123456781234567812345678\n,\n')
    columns = [{"name": "j", "type": "json"}, {"name": "u", "type": "uuid"}]
    await etl.run(declared(columns, name="things", table="things", source="a.csv", mode="append"))
    assert await etl.rows("select j::text, u::text from things order by 2") == [
        ('{"a": "\\\\."}', "12345678-1234-5678-1234-567812345678"),
        (None, None),
    ]
