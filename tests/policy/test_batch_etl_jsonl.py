"""JSON lines to rows: whole chunks and line by line come to the same, whatever the sizes of blocks."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from contracts.dataset import Column, Dataset, JsonlFormat
from contracts.quarantine import mask_object
from modules.batch_etl.jsonl_rows import JsonlReader
from modules.batch_etl.rows import Bad, Piece

SEVERAL = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
DATASET = Dataset(
    name="d", table="d", source="d.jsonl", mode="append", format=JsonlFormat(), max_row_bytes=1024,
    columns=(Column(name="a"), Column(name="b", type="json")),
)  # fmt: skip
Found = tuple[int, tuple[str | None, ...] | str, bytes]


def read(content: bytes, *, block: int = 1 << 20, chunk: int = 1 << 20) -> list[Found]:
    reader = JsonlReader(DATASET, "d.jsonl", chunk_bytes=chunk)
    pieces: list[Piece] = []
    for at in range(0, len(content), block):
        pieces += reader.feed(content[at : at + block])
    pieces += reader.finish()
    found: list[Found] = []
    for piece in pieces:
        if isinstance(piece, Bad):
            found.append((piece.line, "; ".join(map(str, piece.reasons)), piece.raw))
        else:
            rows = piece.frame.rows()
            found += [(piece.lines[at], rows[at], piece.text(at)) for at in range(piece.frame.height)]
    return sorted(found, key=lambda row: row[0])


LINES = st.lists(
    st.sampled_from(
        [b'{"a": 1}', b'{"a": "x", "b": {"c": [1.50]}}', b"", b" ", b'{"a": 1} {"a": 2}', b'{"a":', b'1}', b'{"c": 1}',
         b'{"a": "\xff"}', b'{"a": "\\ud800"}', b'{"a": "\\u00e9\\n"}', b"[1]", b'{"a": null, "b": null}\r', b"{}",
         b'{"a": 1, "a": 2}', b'{"a": "\xe2\x80\xa8"}', b'{"a": true, "b": "t"}']
    ),
    max_size=10,
).map(b"\n".join)  # fmt: skip


@SEVERAL
@given(LINES, st.integers(1, 60))
@example(b'{"a": 1} {"a": 2}\n\n', 100)
@example(b'{"a":\n1}\n{}\n', 100)
def test_chunks_and_lines_come_to_the_same(content: bytes, size: int) -> None:
    whole = read(content)
    alone: list[Found] = []
    for number, line in enumerate(content.split(b"\n"), start=1):
        alone += [(number, row, raw) for _, row, raw in read(line)]
    assert whole == alone
    assert read(content, block=size, chunk=size) == whole


@SEVERAL
@given(
    st.lists(
        st.tuples(st.none() | st.text(max_size=6), st.none() | st.dictionaries(st.text(max_size=2), st.integers()))
    )
)
def test_what_a_writer_wrote_is_read(rows: list[tuple[str | None, dict[str, int] | None]]) -> None:
    content = "\n".join(json.dumps({"a": text, "b": value}, ensure_ascii=False) for text, value in rows).encode()
    found = [row for _, row, _ in read(content)]
    assert [(row[0], json.loads(row[1]) if isinstance(row[1], str) else None) for row in found] == rows


def test_numbers_keep_every_digit() -> None:
    ((_, row, _),) = read(b'{"a": 12345678901234567890.123456789012345678900, "b": 1e400}')
    assert row == ("12345678901234567890.123456789012345678900", "1e400")


@pytest.mark.parametrize("end", [b"", b"\n{}"])
def test_a_giant_line(end: bytes) -> None:
    found = read(b'{}\n{"a": "' + b"x" * 5000 + b'"}' + end, block=700, chunk=700)
    assert (found[1][0], found[1][1]) == (2, "row is longer than 1024 bytes (max_row_bytes)")
    assert len(found) == 2 + len(end) // 3


def test_masking() -> None:
    assert mask_object(b'{"a": 1.50, "b": [1]}', ["b"]) == b'{"a":1.50,"b":"***"}'
    assert mask_object(b'{"a": 1.50}', ["b"]) == b'{"a": 1.50}'
    assert mask_object(b"[1]", ["b"]) == b"***"
