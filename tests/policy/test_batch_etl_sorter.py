"""Whatever the order, the sizes and the spills: each key once, its winner the declared one, in key order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.dataset import Duplicates
from modules.batch_etl.cast import SEQ
from modules.batch_etl.sorter import Sorter

SEVERAL = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
KEEPS = [
    Duplicates(keep="first"), Duplicates(keep="last"), Duplicates(keep="highest", by="by"),
    Duplicates(keep="lowest", by="by"),
]  # fmt: skip
Row = tuple[int, str, int | None, int]

ROWS = st.lists(st.tuples(st.integers(0, 12), st.sampled_from("abé"), st.none() | st.integers(0, 3)), max_size=80)


def sorted_out(
    rows: list[Row], key: list[str], keep: Duplicates, *, chunk: int, **sizes: Any
) -> tuple[list[Row], Sorter]:
    sorter = Sorter(key, keep, **sizes)
    schema = {"a": pl.Int64, "b": pl.String, "by": pl.Int64, SEQ: pl.Int64}
    for at in range(0, len(rows), chunk):
        sorter.add(pl.DataFrame(rows[at : at + chunk], schema=schema, orient="row"))
    out = [row for frame in sorter.frames() for row in frame.rows()]
    sorter.close()
    return out, sorter


def winner(rows: list[Row], keep: Duplicates) -> Row:
    if keep.keep == "first":
        return rows[0]
    best = rows[-1]
    if keep.by is not None:
        sign = 1 if keep.keep == "highest" else -1
        best = max(rows, key=lambda row: (row[2] is not None, sign * (row[2] or 0), row[3]))
    return best


def groups(rows: list[Row], width: int) -> Iterator[list[Row]]:
    for key in sorted({row[:width] for row in rows}):
        yield [row for row in rows if row[:width] == key]


@SEVERAL
@given(
    ROWS,
    st.sampled_from([["a"], ["a", "b"]]),
    st.sampled_from(KEEPS),
    st.integers(1, 20),
    st.integers(1, 2000),
    st.integers(2, 4),
)
def test_each_key_once(
    values: list[tuple[int, str, int | None]], key: list[str], keep: Duplicates, chunk: int, run_bytes: int, fan_in: int
) -> None:
    rows: list[Row] = [(*value, at) for at, value in enumerate(values)]
    expected = [winner(group, keep) for group in groups(rows, len(key))]
    for sizes in (
        {},
        {"run_bytes": run_bytes, "fan_in": fan_in, "part_bytes": 300, "block_bytes": 100},
        {"run_bytes": 1, "fan_in": 2, "part_bytes": 1, "block_bytes": 1},
    ):
        found, sorter = sorted_out(rows, key, keep, chunk=chunk, **sizes)
        assert found == expected
        assert sorter.rows == len(rows)
        assert sorter.duplicates == len(rows) - len(expected)


@SEVERAL
@given(ROWS, st.integers(1, 20), st.integers(1, 2000))
def test_without_a_key_the_order_stays(values: list[tuple[int, str, int | None]], chunk: int, run_bytes: int) -> None:
    rows: list[Row] = [(*value, at) for at, value in enumerate(values)]
    for sizes in ({}, {"run_bytes": run_bytes, "part_bytes": 300, "block_bytes": 100, "fan_in": 2}):
        assert sorted_out(rows, [], KEEPS[1], chunk=chunk, **sizes)[0] == rows


@pytest.mark.parametrize("same", [True, False])
def test_pieces_stay_small_whatever_the_rows(same: bool) -> None:
    """Wide rows and a key that is always the same: neither makes a piece large."""
    sorter = Sorter(["a"], KEEPS[1], run_bytes=1 << 20, part_bytes=1 << 18, block_bytes=1 << 15)
    for at in range(0, 4000, 50):
        sorter.add(
            pl.DataFrame(
                {
                    "a": [7 if same else (at + n) * 31 % 4001 for n in range(50)],
                    "wide": ["x" * 2000] * 50,
                    SEQ: range(at, at + 50),
                }
            )
        )
    assert sorter.runs > 4
    sizes = [frame.height * 2000 for frame in sorter.frames()]
    assert max(sizes) < 1 << 20
    assert sum(sizes) == 2000 * (1 if same else 4000)
    sorter.close()
