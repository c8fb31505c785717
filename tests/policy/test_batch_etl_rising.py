"""What goes straight has keys that rise without end; everything else is held back; nothing is lost or changed."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.dataset import Duplicates
from modules.batch_etl.cast import SEQ
from modules.batch_etl.rising import OutOfOrder, Rising
from modules.batch_etl.sorter import Sorter

SCHEMA = {"a": pl.Int64, "b": pl.String, "f": pl.Float64, SEQ: pl.Int64}
ROWS = st.lists(
    st.tuples(
        st.integers(0, 12), st.sampled_from(["", "a", "b", "é"]), st.sampled_from([-0.0, 0.0, 1.5, math.nan, -math.inf])
    ),
    max_size=40,
)


def split(
    rows: Sequence[tuple[Any, ...]], key: list[str], *, chunk: int, **bounds: int
) -> tuple[list[tuple[Any, ...]], Sorter]:
    held = Sorter(key, Duplicates(keep="first"))
    rising = Rising(key, held, **bounds)

    async def frames() -> AsyncIterator[pl.DataFrame]:
        for at in range(0, len(rows), chunk):
            yield pl.DataFrame(rows[at : at + chunk], schema=SCHEMA, orient="row")

    async def passed() -> list[tuple[Any, ...]]:
        return [row for frame in [frame async for frame in rising.pass_on(frames())] for row in frame.rows()]

    found = asyncio.run(passed())
    assert rising.passed == len(found)
    return found, held


def held_by(sorter: Sorter) -> set[int]:
    """The places of the rows that it has, duplicates included."""
    return {place for frame in sorter._held for place in frame[SEQ]}


@settings(max_examples=200, deadline=None)
@given(ROWS, st.sampled_from([["a"], ["b"], ["f"], ["a", "b"], ["b", "f"]]), st.integers(1, 20))
def test_only_keys_that_rise_go_straight(values: list[tuple[Any, ...]], key: list[str], chunk: int) -> None:
    rows = [(*value, at) for at, value in enumerate(values)]
    passed, held = split(rows, key, chunk=chunk)
    at = [list(SCHEMA).index(name) for name in key]
    keys = [tuple("nan" if row[i] != row[i] else row[i] + 0.0 if i == 2 else row[i] for i in at) for row in passed]
    assert len(set(keys)) == len(keys)
    if "f" not in key:
        assert keys == sorted(keys)
    assert [row[-1] for row in passed] == sorted(row[-1] for row in passed)
    assert {row[-1] for row in passed} | held_by(held) == set(range(len(rows)))
    assert len(passed) + held.rows == len(rows)
    held.close()


def test_without_a_key_every_row_goes_straight() -> None:
    rows = [(at % 3, "", 0.0, at) for at in range(10)]
    passed, held = split(rows, [], chunk=4)
    assert (passed, held.rows) == (rows, 0)


def test_what_begins_out_of_order_is_held_as_a_whole() -> None:
    rows = [(at, "", 0.0, at) for at in [5, 4, 3, 2, 6, 7, 8, 9, 10]]
    passed, held = split(rows, ["a"], chunk=4, held_rows=2)
    assert (passed, held.rows) == ([], len(rows))


def test_what_goes_out_of_order_later_is_given_up() -> None:
    rows = [(at, "", 0.0, at) for at in [1, 2, 3, 4, 3, 2, 1, 0]]
    assert len(split(rows, ["a"], chunk=4, held_rows=4)[0]) == 4
    with pytest.raises(OutOfOrder):
        split(rows, ["a"], chunk=4, held_rows=3)
    rows = [(at, "", 0.0, at) for at in [*range(30), 3, 2, 1]]
    assert len(split(rows, ["a"], chunk=4, held_rows=0, held_share=8)[0]) == 30
