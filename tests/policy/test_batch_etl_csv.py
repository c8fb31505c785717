"""CSV to rows: every row and its line, whatever the sizes of blocks; the quick way agrees with the exact one."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from contracts.dataset import Column, CsvFormat, Dataset
from contracts.errors import BadInput
from modules.batch_etl.csv_rows import CsvReader
from modules.batch_etl.rows import Bad, Piece

SEVERAL = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
WIDTH = 3

Found = tuple[int, tuple[str, ...] | str, bytes]


def dataset(width: int = WIDTH, *, limit: int = 1 << 20, extra: str = "refuse", **form: object) -> Dataset:
    return Dataset(
        name="d",
        table="d",
        source="d.csv",
        mode="append",
        columns=tuple(Column(name=f"c{index}") for index in range(width)),
        format=CsvFormat(**form),  # type: ignore[arg-type]
        max_row_bytes=limit,
        extra_columns=extra,  # type: ignore[arg-type]
    )


def taken(pieces: list[Piece]) -> list[Found]:
    found: list[Found] = []
    for piece in pieces:
        if isinstance(piece, Bad):
            found.append((piece.line, "; ".join(map(str, piece.reasons)), piece.raw))
        else:
            rows = piece.frame.rows()
            found += [(piece.lines[at], rows[at], piece.text(at)) for at in range(piece.frame.height)]
    return sorted(found, key=lambda row: row[0])


def read(
    content: bytes,
    made: Dataset,
    *,
    block: int = 1 << 20,
    chunk: int = 8 << 20,
    piece: int = 256 << 10,
    exact: bool = False,
) -> list[Found]:
    reader = CsvReader(made, "d.csv", chunk_bytes=chunk, piece_bytes=piece)
    if exact:
        monkey = {"_fast": lambda _: None}
        vars(reader).update(monkey)
    pieces: list[Piece] = []
    for at in range(0, len(content), block):
        pieces += reader.feed(content[at : at + block])
    pieces += reader.finish()
    return taken(pieces)


VALUES = st.text(alphabet=st.sampled_from('abé",\n\r ;😀'), max_size=6)


@SEVERAL
@given(
    st.lists(st.lists(VALUES, min_size=WIDTH, max_size=WIDTH), max_size=12),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([",", ";", "\t"]),
    st.integers(1, 40),
    st.booleans(),
)
def test_what_a_writer_wrote_is_read(rows: list[list[str]], end: str, delimiter: str, size: int, bom: bool) -> None:
    # The writer leaves a return at the end of a row bare, where it is a part of the line end.
    rows = [[*row[:-1], row[-1].rstrip("\r")] for row in rows]
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end)
    writer.writerow([f"c{index}" for index in range(WIDTH)])
    lines = []
    for row in rows:
        lines.append(out.getvalue().count("\n") + 1)
        writer.writerow(row)
    content = (b"\xef\xbb\xbf" if bom else b"") + out.getvalue().encode()
    expected = [(line, tuple(row)) for line, row in zip(lines, rows, strict=True)]
    for block, chunk, piece in ((1 << 20, 1 << 20, 1 << 18), (size, size, size), (7, 64, 16)):
        found = read(content, dataset(delimiter=delimiter), block=block, chunk=chunk, piece=piece)
        assert [(line, row) for line, row, _ in found] == expected


SOUP = st.text(alphabet=st.sampled_from('ab",\n\r'), max_size=60).map(str.encode)
LINES = st.lists(
    st.sampled_from([b'a,b,c', b'"a",b,c', b'a,"b,b",c', b"a,b", b"a,b,c,d", b'"a\nb",c,d', b'a,"b', b'""x,b,c',
         b'a"b,c,d', b"", b'a,b,"c""c"', b"\xff,b,c", b"a,\0,c"]),
    max_size=14,
).map(b"\n".join)  # fmt: skip


@SEVERAL
@given(st.one_of(LINES, LINES, SOUP), st.integers(1, 50), st.sampled_from([1024, 1 << 20]))
@example(b'""a,b,c\n1,2,3\n', 50, 1024)
@example(b'a,b\na,"b,b",c\n', 50, 1024)
@example(b"a,b,c\n\xef\xbb\xbfa,b,c\n", 6, 1024)
def test_any_bytes_give_the_same_quickly_and_exactly(content: bytes, size: int, limit: int) -> None:
    made = dataset(header=False, limit=limit)
    exact = read(content, made, exact=True)
    assert read(content, made) == exact
    assert read(content, made, block=size, chunk=size, piece=size) == exact
    assert read(content, made, block=11, chunk=40, piece=20) == exact


def test_reasons_and_lines() -> None:
    content = b'c0,c1,c2\n1,2,3\n\n4,5\n"6\n6",7,8\n9,"x"y,9\n\xff,1,2\n"open,1,2\n7,7,7\n'
    assert read(content, dataset()) == [
        (2, ("1", "2", "3"), b"1,2,3"),
        (4, "row has 2 fields, 3 expected", b"4,5"),
        (5, ("6\n6", "7", "8"), b'"6\n6",7,8'),
        (7, "there is text between a closing quote and the delimiter", b'9,"x"y,9'),
        (8, "column c0: byte 0xff at position 0 is not utf-8", b"\xff,1,2"),
        (9, "a quote is opened and never closed", b'"open,1,2'),
        (10, ("7", "7", "7"), b"7,7,7"),
    ]


@pytest.mark.parametrize("block", [1 << 20, 1000, 4096])
@pytest.mark.parametrize("giant", [b"x" * 50_000, b'"' + b"x" * 50_000, b'1,"a\n' + b"y" * 50_000])
def test_a_row_beyond_the_limit_costs_itself_only(giant: bytes, block: int) -> None:
    content = b"c0,c1,c2\n1,2,3\n" + giant + b"\n4,5,6\n"
    found = read(content, dataset(limit=2048), block=block, chunk=2000, piece=500)
    assert found[0] == (2, ("1", "2", "3"), b"1,2,3")
    assert found[-1] == (content.count(b"\n"), ("4", "5", "6"), b"4,5,6")
    assert "row is longer than 2048 bytes (max_row_bytes)" in [reason for _, reason, _ in found]
    assert all(len(raw) <= 16 << 10 for _, _, raw in found)


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_giant_last_row(end: bytes) -> None:
    found = read(b"c0,c1,c2\n" + b"x" * 9000 + end, dataset(limit=2048), block=700, chunk=700)
    assert [(line, reason) for line, reason, _ in found] == [(2, "row is longer than 2048 bytes (max_row_bytes)")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"c0,c1\n1,2\n", "d.csv, line 1: column 'c2' is missing"),
        (b"c0,c1,C2\n", "d.csv, line 1: column 'c2' is missing (is it 'C2'?)"),
        (b"c0,c1,c2,more\n", "d.csv, line 1: column 'more' is not declared (extra_columns: ignore lets it pass)"),
        (b"c0,c1,c2,c2\n", "d.csv, line 1: column 'c2' is there twice"),
        (b'c0,"c1,c2\n1,2,3\n', "d.csv, line 1: the header can't be read: a quote is opened and never closed"),
        (b"c0,c1,\xff\n", "d.csv, line 1: the header is not utf-8: invalid start byte"),
        (b"x" * 5000, "d.csv, line 1: the header can't be read: row is longer than 2048 bytes (max_row_bytes)"),
        (b"\n", "d.csv, line 1: column 'c0' is missing"),
        (b"", "d.csv, line 1: there is no header line"),
    ],
)
def test_a_wrong_header_is_told(content: bytes, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        read(content, dataset(limit=2048))
    assert message in caught.value.faults


def test_extra_columns_are_left_out_and_order_is_free() -> None:
    found = read(b"x,c2,c0,c1\n9,3,1,2\n", dataset(extra="ignore"))
    assert found == [(2, ("1", "2", "3"), b"9,3,1,2")]


def test_masking_hides_the_declared_columns_only() -> None:
    made = Dataset(
        name="d", table="d", source="d", mode="append",
        columns=(Column(name="a"), Column(name="b", personal=True), Column(name="c", personal=True)),
    )  # fmt: skip
    reader = CsvReader(made, "d.csv")
    reader.feed(b"c,a,b\n")
    reader.finish()
    masked: Callable[[bytes], bytes] = reader.mask
    assert masked(b'x,y,"z,""z"') == b"***,y,***"
    assert masked(b"x,y") == b"***"
