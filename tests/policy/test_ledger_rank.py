"""The place of a job in the line, as a pure function."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from adapters.ledger.rank import PRIORITY_BOUND, bounded, rank_us
from contracts.ports.ledger import AGEING_S

instants = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - given one
priorities = st.integers(-1000, 1000)


@given(instants, instants, priorities)
def test_it_is_the_formula_of_the_port(recorded_at: datetime, not_before: datetime, priority: int) -> None:
    eligible_at = max(recorded_at, not_before)
    expected = eligible_at - timedelta(seconds=priority * AGEING_S)
    assert (
        datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=rank_us(recorded_at, not_before, priority))
        == expected
    )


@given(instants, priorities, st.integers(1, 1000), st.floats(0, 1000 * AGEING_S))
def test_a_point_of_priority_is_worth_a_minute_of_waiting(
    at: datetime, priority: int, points: int, later_s: float
) -> None:
    """Whoever comes later with more priority goes first just when the points are worth more than the time between."""
    later = at + timedelta(seconds=later_s)
    overtakes = rank_us(later, later, priority + points) < rank_us(at, at, priority)
    assert overtakes == (later - at < timedelta(seconds=points * AGEING_S))


@given(instants, instants, instants, priorities)
def test_who_came_first_goes_first_among_equals(a: datetime, b: datetime, not_before: datetime, priority: int) -> None:
    earlier, later = sorted((a, b))
    assert rank_us(earlier, not_before, priority) <= rank_us(later, not_before, priority)


@given(st.integers())
def test_no_priority_leaves_the_calendar(priority: int) -> None:
    kept = bounded(priority)
    assert abs(kept) <= PRIORITY_BOUND
    assert kept == priority or abs(priority) > PRIORITY_BOUND
    assert (kept > 0) == (priority > 0)
