"""Bad input ends in a clear error that names the file and the place, or in quarantined rows; never in a half-loaded
table."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from adapters.database.postgres import PostgresDb
from contracts.dataset import Dataset
from contracts.errors import BadInput
from tests.modules.batch_etl_kit import Etl, adds_up, declared

pytestmark = pytest.mark.anyio

GOOD = b"id,name\n" + b"".join(b"%d,name %d\n" % (n, n) for n in range(20_000))


@pytest.fixture
def etl(db: PostgresDb, tmp_path: Path) -> Etl:
    (tmp_path / "files").mkdir()
    return Etl(db, tmp_path / "files")


def things(source: str = "things.csv", **settings: Any) -> Dataset:
    columns = [{"name": "id", "type": "int"}, {"name": "name"}]
    return declared(columns, **{"name": "things", "table": "things", "source": source, "key": ["id"], **settings})


def zstd(content: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(content, asbytes=True))


PARQUET = {"format": {"type": "parquet"}}


@pytest.mark.parametrize(
    ("path", "content", "settings", "message"),
    [
        (None, b"", {}, r"there is no file 'things.csv' under file://"),
        (None, b"", {"source": "in/*.csv"}, r"no file matches 'in/\*.csv' under file://"),
        ("things.csv", b"", {}, r"things.csv is empty: it has 0 bytes \(allow_empty: true lets it pass\)"),
        ("things.csv", b"\xef\xbb\xbf", {}, r"things.csv, line 1: there is no header line"),
        ("things.csv", b"id;name\n1;a\n", {}, r"things.csv, line 1: column 'id' is missing"),
        ("things.csv", b"1,a\n2,b\n", {}, r"things.csv has the columns '1', 'a'"),
        ("a.csv.gz", gzip.compress(GOOD)[:-20], {"source": "a.csv.gz"}, r"a.csv.gz, byte \d+: .* truncated"),
        ("a.csv.gz", GOOD, {"source": "a.csv.gz"}, r"a.csv.gz, near byte 0: not valid gzip \(.*\)"),
        ("a.csv.gz", gzip.compress(GOOD) + b"junk", {"source": "a.csv.gz"}, r"a.csv.gz, near byte \d+: not valid gzip"),
        ("a.csv.zst", zstd(GOOD)[:-20], {"source": "a.csv.zst"}, r"a.csv.zst, after byte \d+ .*truncated zstd"),
        ("a.csv.zst", GOOD, {"source": "a.csv.zst"}, r"a.csv.zst, after byte 0 .*truncated zstd"),
        ("a.parquet", GOOD, {"source": "a.parquet", **PARQUET}, r"a.parquet, at its start: not a readable"),
        ("a.parquet", b"PAR1" + GOOD + b"PAR1", {"source": "a.parquet", **PARQUET}, "a.parquet, at its start"),
        ("things.csv", GOOD, {"format": {"type": "csv", "encoding": "utf-16"}}, "near byte 0: not valid utf-16"),
        ("sub/things.csv", GOOD, {"source": "sub"}, r"sub is a directory: name a file, or use sub/\*"),
    ],
)  # fmt: skip
async def test_a_file_that_cannot_be_read(
    etl: Etl, path: str | None, content: bytes, settings: dict[str, Any], message: str
) -> None:
    if path is not None:
        etl.put(path, content)
    with pytest.raises(BadInput, match=message):
        await etl.run(things(**settings))
    assert await etl.rows("select to_regclass('things')::text") == [(None,)]
    assert await etl.rows("select count(*) from millrace.dataset_files") == [(0,)]


@pytest.mark.parametrize("source", ["../secret.csv", "/etc/passwd", "a/../../secret.csv"])
async def test_a_path_outside_the_root(etl: Etl, source: str) -> None:
    with pytest.raises(BadInput, match="must be relative to the files root"):
        await etl.run(things(), source=source)


async def test_a_link_outside_the_root(etl: Etl) -> None:
    (etl.root.parent / "secret.csv").write_bytes(b"id,name\n1,secret\n")
    os.symlink(etl.root.parent / "secret.csv", etl.root / "things.csv")
    with pytest.raises(BadInput, match=r"things\.csv"):
        await etl.run(things())


@pytest.mark.parametrize(
    ("content", "line", "reason", "raw", "escaped"),
    [
        (b"id,name\n1,a\n2\n3,c\n", 3, ": row has 1 fields, 2 expected", "2", False),
        (b"id,name\n1,a\n2,b,c\n3,c\n", 3, ": row has 3 fields, 2 expected", "2,b,c", False),
        (b"id,name\n1,a\n2,b\xff\\\n3,c\n", 3, "name: byte 0xff at position 1 is not utf-8", "2,b\\xff\\\\", True),
        (b"id,name\n1,a\n2,b\0\n3,c\n", 3, "name: has a NUL character, which PostgreSQL can't store", "2,b\\x00", True),
        (b"id,name\n1,a\n2\0,b\n3,c\n", 3, "id: '2\\x00' is not an int", "2\\x00,b", True),
        (b'id,name\n1,a\n2,"b\n3,c\n', 3, ": a quote is opened and never closed", '2,"b', False),
        (b'id,name\n1,a\n2,"b"x\n3,c\n', 3, ": there is text between a closing quote and the delimiter",
         '2,"b"x', False),
    ],
)  # fmt: skip
async def test_a_row_that_cannot_be_read(
    etl: Etl, content: bytes, line: int, reason: str, raw: str, escaped: bool
) -> None:
    etl.put("things.csv", content)
    report = await etl.run(things())
    assert (report.read, report.loaded, report.rejected) == (3, 2, 1)
    assert await etl.quarantine(things()) == [("things.csv", line, [reason], raw)]
    assert await etl.rows("select escaped from millrace.quarantine") == [(escaped,)]


async def test_a_line_of_50_mb(etl: Etl) -> None:
    etl.put("things.csv", b"id,name\n1,a\n2," + b"x" * (50 << 20) + b"\n3,c\n")
    report = await etl.run(things())
    assert (report.read, report.loaded, report.rejected) == (3, 2, 1)
    ((_, line, reasons, raw),) = await etl.quarantine(things())
    assert (line, reasons) == (3, [": row is longer than 1048576 bytes (max_row_bytes)"])
    assert len(raw) == 8 << 10


async def test_only_some_rejects_are_kept_and_all_are_counted(etl: Etl) -> None:
    etl.put("things.csv", b"id,name\n" + b"x,y\n" * 500)
    report = await etl.run(things(quarantine_rows=100))
    assert (report.read, report.rejected, report.rejected_by_reason) == (500, 500, {"id: not an int": 500})
    assert adds_up(report)
    assert await etl.rows("select count(*) from millrace.quarantine") == [(100,)]


async def test_an_empty_file_may_be_let_in(etl: Etl) -> None:
    etl.put("things.csv", b"")
    report = await etl.run(things(allow_empty=True))
    assert (report.read, report.files_read) == (0, 1)


async def test_latin_1_and_what_it_has_no_character_for(etl: Etl) -> None:
    dataset = things(format={"type": "csv", "encoding": "cp1252"})
    etl.put("things.csv", b"id,name\n1,caf\xe9\n2,\x81\n")
    report = await etl.run(dataset)
    assert (report.loaded, report.rejected) == (1, 1)
    assert await etl.rows("select name from things") == [("café",)]
    assert (await etl.quarantine(dataset))[0][2] == ["name: byte 0x81 at position 0 is not cp1252"]
