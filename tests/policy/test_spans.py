"""Spans hold exactly the positions that went in."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from runtime.policy.spans import Spans, spans_of

spans = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 8)).map(lambda one: (one[0], one[0] + one[1])))


@given(spans, st.integers(-1, 80))
def test_a_position_is_there_when_any_span_has_it(given_spans: list[tuple[int, int]], position: int) -> None:
    assert (position in Spans(given_spans)) == any(start <= position < stop for start, stop in given_spans)


@given(spans)
def test_they_are_sorted_and_do_not_touch(given_spans: list[tuple[int, int]]) -> None:
    merged = list(Spans(given_spans))
    assert all(start < stop for start, stop in merged)
    assert all(before[1] < after[0] for before, after in pairwise(merged))
    assert Spans(given_spans).end == (merged[-1][1] if merged else 0)


@given(st.sets(st.integers(0, 60)))
def test_positions_become_the_fewest_spans(positions: set[int]) -> None:
    found = spans_of(positions)
    assert {one for start, stop in found for one in range(start, stop)} == positions
    assert all(before[1] < after[0] for before, after in pairwise(found))
