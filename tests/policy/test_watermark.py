"""The watermark never passes an unfinished position, and reaches the end when all are finished."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.policy.watermark import Watermark


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Rising positions, with gaps, and the order in which they finish (possibly twice)."""
    gaps = draw(st.lists(st.integers(1, 5), min_size=1, max_size=40))
    positions = [sum(gaps[: n + 1]) for n in range(len(gaps))]
    order = draw(st.permutations(positions))
    again = draw(st.lists(st.sampled_from(positions), max_size=5))
    return positions, [*order, *again]


@given(histories())
def test_every_position_below_it_is_finished(history: tuple[list[int], list[int]]) -> None:
    positions, order = history
    mark = Watermark()
    for position in positions:
        mark.begin(position)
    finished: set[int] = set()
    for position in order:
        before = mark.value
        mark.finish(position)
        finished.add(position)
        open_ = [one for one in positions if one not in finished]
        assert mark.value == (open_[0] if open_ else positions[-1] + 1)
        assert mark.value >= before
        assert mark.unfinished == len(open_)
        assert mark.finished_above == {one for one in finished if one > mark.value}


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30)), max_size=80))
def test_it_holds_while_positions_come_and_end_in_any_interleaving(steps: list[tuple[bool, int]]) -> None:
    mark, open_, next_ = Watermark(), [], 0
    for begins, n in steps:
        if begins:
            next_ += n % 3
            mark.begin(next_)
            open_.append(next_)
            next_ += 1
        elif open_:
            mark.finish(open_.pop(n % len(open_)))
        assert mark.value == (min(open_) if open_ else mark.value)
        assert mark.value <= next_


def test_a_position_out_of_order_or_never_offered_is_refused() -> None:
    mark = Watermark(10)
    mark.begin(12)
    mark.finish(12)
    with pytest.raises(ValueError, match="position 12 was offered after 12"):
        mark.begin(12)
    with pytest.raises(ValueError, match="never offered"):
        mark.finish(13)


def test_a_released_position_comes_again_and_still_holds_the_watermark() -> None:
    mark = Watermark()
    for position in range(3):
        mark.begin(position)
    mark.finish(1)
    mark.begin(0)
    assert mark.value == 0
    assert mark.unfinished == 2
    with pytest.raises(ValueError, match="was offered after"):
        mark.begin(1)
    mark.finish(0)
    assert mark.value == 2
