"""What contradicts itself in a declaration is told by path, all at once; what is asked of a draft."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from contracts.dataset import Column, Dataset
from contracts.errors import BadInput, Faults
from modules.batch_etl import sniff
from modules.batch_etl.draft import sql_name
from modules.batch_etl.record import declaration_of
from modules.batch_etl.rules import Rules


def dataset(*columns: dict[str, Any], **settings: Any) -> Dataset:
    usual: list[dict[str, Any]] = [
        {"name": "id", "type": "int"},
        {"name": "day", "type": "date"},
        {"name": "j", "type": "json"},
    ]
    plain = {"name": "d", "table": "d", "source": "d.csv", "columns": columns or usual, "mode": "append", **settings}
    return msgspec.convert(plain, Dataset)


@pytest.mark.parametrize(
    ("settings", "path", "words"),
    [
        ({"mode": "upsert"}, "key", "mode upsert needs one"),
        ({"key": ["id", "no"]}, "key[1]", "'no' is not among the columns (id, day, j)"),
        ({"key": ["id", "id"]}, "key[1]", "'id' is there twice"),
        ({"key": ["j"]}, "key[0]", "json, which has no equality"),
        ({"duplicates": {"keep": "highest"}}, "duplicates.by", "needs the column"),
        ({"duplicates": {"keep": "first", "by": "id"}}, "duplicates.by", "is for keep: highest or lowest"),
        ({"duplicates": {"keep": "lowest", "by": "no"}}, "duplicates.by", "'no' is not among"),
        ({"duplicates": {"keep": "lowest", "by": "j"}}, "duplicates.by", "no order"),
        ({"partition_by": "day"}, "partition_by", "is for mode replace, not append"),
        ({"mode": "replace", "partition_by": "id"}, "partition_by", "must be a date or a timestamp"),
        ({"mode": "replace", "partition_by": "no"}, "partition_by", "'no' is not among"),
        ({"source": "../d.csv"}, "source", "must be relative"),
        ({"source": "{day}.csv"}, "source", "{day} is unknown"),
        ({"source": "{date:Y}.csv"}, "source", "{date:Y} is unknown"),
        ({"source": "{date.csv"}, "source", "a brace without its other half"),
        ({"table": "millrace.jobs"}, "table", "the runtime's own"),
        ({"format": {"type": "csv", "delimiter": "\n"}}, "format.delimiter", "one ASCII character"),
        ({"format": {"type": "csv", "delimiter": '"'}}, "format.quote", "is the delimiter as well"),
        ({"format": {"type": "jsonl", "encoding": "utf-99"}}, "format.encoding", "is not an encoding"),
        ({"format": {"type": "csv", "encoding": "base64"}}, "format.encoding", "does not turn bytes into text"),
        ({"format": {"type": "parquet"}, "compression": "gzip"}, "compression", "compressed inside"),
    ],
)
def test_a_contradiction_is_told_by_path(settings: dict[str, Any], path: str, words: str) -> None:
    ((found, why),) = dataset(**settings).faults()
    assert found == path
    assert words in why


@pytest.mark.parametrize(
    ("column", "path", "words"),
    [
        ({"type": "decimal", "precision": 3, "scale": 4}, "scale", "do not fit"),
        ({"type": "text", "min": 1}, "min", "has no order"),
        ({"type": "int", "pattern": "x"}, "pattern", "is for text"),
        ({"type": "int", "max_length": 3}, "max_length", "is for text"),
        ({"pattern": "("}, "pattern", "not a regular expression"),
        ({"type": "json", "choices": ["a"]}, "choices", "takes none"),
        ({"format": "%Y"}, "format", "is for dates"),
        ({"type": "date", "format": "%Q"}, "format", "is not a strptime form"),
        ({"type": "date", "format": "%m/%Y"}, "format", "does not tell a whole day"),
        ({"type": "timestamp", "timezone": "Mars/Base"}, "timezone", "is not a time zone"),
        ({"type": "bool", "true_tokens": ["x"], "false_tokens": ["X"]}, "true_tokens", "both true and false"),
    ],
)
def test_a_column_that_contradicts_itself(column: dict[str, Any], path: str, words: str) -> None:
    ((found, why),) = dataset({"name": "c", **column}).faults()
    assert found == f"columns[0].{path}"
    assert words in why


def test_values_must_be_of_their_column() -> None:
    """Bounds, choices and defaults are cast as the file's values are; all faults at once."""
    wrong = dataset(
        {"name": "a", "type": "int", "min": "x", "default": 1.5},
        {"name": "b", "type": "date", "choices": ["2025-01-01", "2025-02-30"]},
        {"name": "c", "type": "int", "min": 5, "max": 3},
        {"name": "e", "type": "int", "min": 5, "default": 3},
        {"name": "f", "pattern": "[a-z]", "default": "A"},
    )
    with pytest.raises(Faults) as caught:
        Rules(wrong)
    assert caught.value.faults == [
        "columns.a.default: '1.5' is not an int",
        "columns.a.min: 'x' is not an int",
        "columns.b.choices[1]: '2025-02-30' is not a day of the calendar",
        "columns.c.min: 5 is above max, 3",
        "columns.e.default: '3' is below min, 5",
        "columns.f.default: 'A' does not match the pattern [a-z]",
    ]
    with pytest.raises(Faults):
        Rules(dataset(mode="upsert"))


def test_what_makes_another_declaration() -> None:
    """Words for people and retention don't; whatever decides about a row does."""
    one = dataset()
    assert declaration_of(one) == declaration_of(msgspec.structs.replace(one, description="x", quarantine_days=3))
    described = tuple(msgspec.structs.replace(column, description="x") for column in one.columns)
    assert declaration_of(one) == declaration_of(msgspec.structs.replace(one, columns=described))
    assert declaration_of(one) != declaration_of(msgspec.structs.replace(one, extra_columns="ignore"))
    assert declaration_of(one) != declaration_of(msgspec.structs.replace(one, columns=(Column(name="id"),)))


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("Order ID", "order_id"),
        ("createdAt", "created_at"),
        ("1st", "c_1st"),
        ("é", "column"),
        ("  a--b ", "a_b"),
        ("ID", "id"),
    ],
)
def test_a_name_for_sql(source: str, name: str) -> None:
    assert sql_name(source) == name


@pytest.mark.parametrize(
    ("content", "delimiter", "header", "columns"),
    [
        (b"a,b\n1,2\n", ",", True, ["a", "b"]),
        (b'a;b\n"1;x";2,5\n', ";", True, ["a", "b"]),
        (b"1\t2\n3\t4\n", "\t", False, ["column_1", "column_2"]),
        (b"2025-01-01|x\n2025-01-02|y\n", "|", False, ["column_1", "column_2"]),
        (b"name\nann\nbob\n", ",", True, ["name"]),
        (b'a,b\n"x\ny",2\n', ",", True, ["a", "b"]),
        (b"a,a\n1,2\n", ",", False, ["column_1", "column_2"]),
        ("größe;maß\n1;2\n".encode("cp1252"), ";", True, ["größe", "maß"]),
    ],
)
def test_a_csv_is_told_by_its_start(content: bytes, delimiter: str, header: bool, columns: list[str]) -> None:
    found = sniff.csv("a.csv", content, rows=100, whole=True)
    assert (found.delimiter, found.header, found.columns) == (delimiter, header, columns)


def test_nothing_to_infer_from() -> None:
    with pytest.raises(BadInput, match="there is no row in it"):
        sniff.csv("a.csv", b"\n\n", rows=10, whole=True)
