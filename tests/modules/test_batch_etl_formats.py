"""JSON lines, Parquet, and what they are wrapped in, become the same table as CSV does."""

from __future__ import annotations

import gzip
import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adapters.database.postgres import PostgresDb
from contracts.dataset import Dataset
from contracts.errors import BadInput
from tests.modules.batch_etl_kit import Etl, adds_up, declared

pytestmark = pytest.mark.anyio

COLUMNS: list[dict[str, Any]] = [
    {"name": "id", "type": "int", "source": "Id"},
    {"name": "note", "type": "text"},
    {"name": "amount", "type": "decimal", "precision": 20, "scale": 4},
    {"name": "ratio", "type": "float"},
    {"name": "open", "type": "bool"},
    {"name": "day", "type": "date"},
    {"name": "at", "type": "timestamp"},
    {"name": "extra", "type": "json"},
    {"name": "ref", "type": "uuid"},
]
UUID = "12345678-1234-5678-1234-567812345678"
ROWS = [
    (1, 'a "quoted", value\nand a line', Decimal("12345678901234.5678"), 0.1, True, date(2025, 1, 31),
     datetime(2025, 1, 31, 12, 0, 0, 123456, UTC), {"a": [1, 2]}, UUID),
    (2, "", Decimal("-0.0001"), -1e300, False, date(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999, UTC),
     None, None),
    (3, None, None, None, None, None, None, None, None),
]  # fmt: skip


@pytest.fixture
def etl(db: PostgresDb, tmp_path: Path) -> Etl:
    return Etl(db, tmp_path)


def of_type(kind: str, source: str, **settings: Any) -> Dataset:
    plain: dict[str, Any] = {"type": kind, **settings.pop("form", {})}
    return declared(COLUMNS, name="things", table="things", source=source, key=["id"], format=plain, **settings)


async def loaded(etl: Etl) -> list[tuple[Any, ...]]:
    names = ", ".join(f'"{column["name"]}"' for column in COLUMNS if column["name"] != "ref")
    return await etl.rows(f"select {names}, ref::text from things order by id")  # noqa: S608


def as_csv() -> bytes:
    lines = [",".join(str(column.get("source", column["name"])) for column in COLUMNS)]
    for row in ROWS:
        cells = []
        for value in row:
            if value is None:
                cells.append("NULL")
            elif isinstance(value, dict):
                cells.append('"' + json.dumps(value).replace('"', '""') + '"')
            elif isinstance(value, str):
                cells.append('"' + value.replace('"', '""') + '"')
            else:
                cells.append(value.isoformat() if isinstance(value, date) else str(value))
        lines.append(",".join(cells))
    return "\n".join(lines).encode()


def as_jsonl() -> bytes:
    lines = []
    for row in ROWS:
        fields = []
        for column, value in zip(COLUMNS, row, strict=True):
            if isinstance(value, Decimal):
                text = str(value)
            elif isinstance(value, date):
                text = json.dumps(value.isoformat())
            else:
                text = json.dumps(value)
            fields.append(f"{json.dumps(column.get('source', column['name']))}: {text}")
        lines.append("{" + ", ".join(fields) + "}")
    return "\n".join(lines).encode()


def as_parquet() -> bytes:
    kinds: list[Any] = [
        pa.int32(), pa.string(), pa.decimal128(18, 4), pa.float64(), pa.bool_(), pa.date32(), pa.timestamp("us", "UTC"),
        pa.struct([("a", pa.list_(pa.int64()))]), pa.binary(16),
    ]  # fmt: skip
    columns: list[Any] = []
    for index, kind in enumerate(kinds):
        values: list[Any] = [row[index] for row in ROWS]
        if index == 8:
            values = [bytes.fromhex(value.replace("-", "")) if value else None for value in values]
        columns.append(pa.array(values, kind))
    names = [str(column.get("source", column["name"])) for column in COLUMNS]
    out = io.BytesIO()
    pq.write_table(pa.table(columns, names=names), out, row_group_size=2)
    return out.getvalue()


def zstd(content: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(content, asbytes=True))


@pytest.mark.parametrize(
    ("dataset", "path", "content"),
    [
        (of_type("csv", "a.csv", form={"null_tokens": ["NULL"]}), "a.csv", as_csv()),
        (of_type("csv", "a.csv.gz", form={"null_tokens": ["NULL"]}), "a.csv.gz", gzip.compress(as_csv())),
        (of_type("csv", "a.csv.zst", form={"null_tokens": ["NULL"]}), "a.csv.zst", zstd(as_csv())),
        (
            of_type("csv", "a.csv", form={"null_tokens": ["NULL"], "encoding": "utf-16"}),
            "a.csv",
            as_csv().decode().encode("utf-16"),
        ),
        (of_type("jsonl", "a.jsonl"), "a.jsonl", as_jsonl()),
        (
            of_type("jsonl", "a", compression="gzip"),
            "a",
            gzip.compress(as_jsonl()[:99]) + gzip.compress(as_jsonl()[99:]),
        ),
        (of_type("parquet", "a.parquet"), "a.parquet", as_parquet()),
    ],
    ids=["csv", "csv.gz", "csv.zst", "csv-utf16", "jsonl", "jsonl-gzip-members", "parquet"],
)
async def test_the_same_rows_come_out(etl: Etl, dataset: Dataset, path: str, content: bytes) -> None:
    etl.put(path, content)
    report = await etl.run(dataset)
    assert await etl.quarantine(dataset) == []
    assert (report.read, report.loaded) == (3, 3)
    assert await loaded(etl) == ROWS
    assert report.bytes == len(content)
    again = await etl.run(dataset)
    assert (again.read, again.files_skipped) == (0, 1)


async def test_bad_json_lines_are_told(etl: Etl) -> None:
    dataset = declared(
        [{"name": "id", "type": "int"}, {"name": "name", "personal": True}, {"name": "any", "type": "json"}],
        name="things", table="things", source="a.jsonl", key=["id"], format={"type": "jsonl"},
    )  # fmt: skip
    etl.put(
        "a.jsonl",
        b'\xef\xbb\xbf{"id": 1, "name": "ann"}\r\n'
        b"\n"
        b'{"id": "two", "name": "bob", "any": {"b": 1.50}}\n'
        b'{"id": 3, "other": 1}\n'
        b"[1]\n"
        b'{"id": 4\n'
        b'{"id": 5, "name": "\xff"}\n'
        b'{"id": 6, "any": "\\u0000"}\n'
        b'{"id": 7, "name": "\\ud800"}\n'
        b'{"id": "8", "name": {"first": "x"}, "any": null}',
    )
    report = await etl.run(dataset)
    assert adds_up(report)
    assert await etl.rows('select id, name, "any" from things order by id') == [
        (1, "ann", None),
        (8, '{"first": "x"}', None),
    ]
    hidden = "*** (could not be split, and has personal columns)"
    assert [(line, reasons[0][:70], raw) for _, line, reasons, raw in await etl.quarantine(dataset)] == [
        (3, "id: 'two' is not an int", '{"id":"two","name":"***","any":{"b": 1.50}}'),
        (4, ": Object contains unknown field `other`", hidden),
        (5, ": Expected `object`, got `array`", hidden),
        (6, ": Input data was truncated", hidden),
        (7, ": byte 0xff at 19 is not utf-8", hidden),
        (
            8,
            "any: '\"\\\\u0000\"' is not JSON that jsonb takes: \\u0000 or half a surrog",
            '{"id": 6, "any": "\\u0000"}',
        ),
        (9, ": Input data was truncated", hidden),
    ]


async def test_parquet_types_are_cast_strictly(etl: Etl) -> None:
    dataset = declared(
        [
            {"name": "id", "type": "int"},
            {"name": "cents", "type": "decimal", "precision": 6, "scale": 2},
            {"name": "at", "type": "timestamp", "timezone": "Europe/Berlin"},
            {"name": "day", "type": "date"},
            {"name": "name", "personal": True},
        ],
        name="things", table="things", source="a.parquet", key=["id"], format={"type": "parquet"},
    )  # fmt: skip
    table = pa.table(
        {
            "id": pa.array([1, 2, 3, 2**64 - 1, 5], pa.uint64()),
            "cents": pa.array([1.25, 0.1, 1.255, 2.0, 3.0], pa.float32()),
            "at": pa.array([0, 1_000, 1, 0, None], pa.timestamp("ns")),
            "day": pa.array([0, 86_400_000, 86_400_000, 5, 0], pa.timestamp("ms")),
            "name": pa.array([b"a", b"b", b"c", b"d", b"\xff"], pa.binary()),
        }
    )
    out = io.BytesIO()
    pq.write_table(table, out)
    etl.put("a.parquet", out.getvalue())
    report = await etl.run(dataset)
    assert (report.read, report.loaded, report.rejected) == (5, 2, 3)
    assert await etl.rows("select id, cents, at, day, name from things order by id") == [
        (1, Decimal("1.25"), datetime(1969, 12, 31, 23, tzinfo=UTC), date(1970, 1, 1), "a"),
        (2, Decimal("0.10"), datetime(1969, 12, 31, 23, 0, 0, 1, tzinfo=UTC), date(1970, 1, 2), "b"),
    ]
    found = await etl.quarantine(dataset)
    assert [(line, reasons) for _, line, reasons, _ in found] == [
        (
            3,
            [
                "cents: '1.255' has more than 2 digits after the point",
                "at: '1970-01-01T00:00:00.000000001' is finer than a microsecond",
            ],
        ),
        (
            4,
            [
                "id: '18446744073709551615' is out of the range of a bigint",
                "day: '1970-01-01T00:00:00.005' is not a date like 2025-01-31",
            ],
        ),
        (5, ["name: byte 0xff at position 0 is not utf-8"]),
    ]
    assert '"name":"***"' in found[0][3]


async def test_a_nested_column_must_be_json(etl: Etl) -> None:
    dataset = declared([{"name": "id", "type": "int"}], source="a.parquet", mode="append", format={"type": "parquet"})
    out = io.BytesIO()
    pq.write_table(pa.table({"id": pa.array([[1]], pa.list_(pa.int64()))}), out)
    etl.put("a.parquet", out.getvalue())
    with pytest.raises(BadInput, match=r"column 'id' is list<.*>: declare it as json, not int"):
        await etl.run(dataset)
