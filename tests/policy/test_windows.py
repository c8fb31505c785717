"""The windows of `metric_aggregator` are what the plainest reference says, whatever the order, the lateness, the
division into batches and the points at which the worker dies."""

from __future__ import annotations

import itertools
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from contracts.aggregation import Condition, Results, Tumbling, Window
from tests.modules.windows_kit import KINDS, T0, Partition, Plain, aggregation, reading

STEPS = st.sampled_from(["batch", "batch", "batch", "lost", "moved"])


@st.composite
def streams(draw: st.DrawFn) -> list[tuple[str, list[Any]]]:
    """Batches and what happens around them. Times are whole and half seconds, so that they meet ends of windows."""
    stream = []
    for _ in range(draw(st.integers(0, 8))):
        events = [
            reading(
                draw(st.integers(0, 60)) / 2,
                draw(st.sampled_from(["a", "b"])),
                draw(st.sampled_from([None, "1.25", "-3.1", "0.01", "99999999.99"])),
                level=draw(st.sampled_from([None, 0.1, 1e16, -1e16, 0.3])),
                count=draw(st.integers(-3, 3)),
            )
            for _ in range(draw(st.integers(0, 6)))
        ]
        stream.append((draw(STEPS), events))
    return stream


def seldom(*times: float, lateness_s: float = 0.0) -> dict[str, Any]:
    """What is seldom drawn: events of one key in one batch."""
    events = [reading(at) for at in times]
    return {
        "stream": [("batch", events)],
        "disorder_s": 0.0,
        "lateness_s": lateness_s,
        "changes": False,
        "late": "update",
        "filtered": False,
    }


@pytest.mark.parametrize("window", KINDS, ids=str)
@given(
    stream=streams(),
    disorder_s=st.sampled_from([0.0, 3.0, 20.0]),
    lateness_s=st.sampled_from([0.0, 4.0, 1000.0]),
    changes=st.booleans(),
    late=st.sampled_from(["update", "drop"]),
    filtered=st.booleans(),
)
@example(**seldom(10, 0, 3, 0.5))
@example(**seldom(0, 6, 4))  # a session that was over when the last one came
@example(**seldom(0, 4, 8, 12, 3))  # late by itself, but within a session that goes on
@example(**seldom(0, 4, 8, 12, 3, lateness_s=4.0))
def test_they_are_what_a_plain_reference_says(
    window: Window,
    stream: list[tuple[str, list[Any]]],
    disorder_s: float,
    lateness_s: float,
    changes: bool,
    late: Any,
    filtered: bool,
) -> None:
    declared = aggregation(
        window,
        disorder_s=disorder_s,
        lateness_s=lateness_s if late == "update" else 0.0,
        late=late,
        to=Results(table="results", changes=changes),
        where=(Condition(column="count", op=">=", value=0),) if filtered else (),
    )
    partition = Partition(declared)
    plain = Plain(declared, (lambda event: event.count >= 0) if filtered else None)
    for step, events in stream:
        if step == "lost":
            partition.lost(events)
        if step == "moved":
            partition.moved()
        partition.batch(events)
        plain.take(events)
    assert partition.held.open_windows == len(plain.kept)
    assert [("late", one.event) for one in partition.asides if one.reason == "late"] == plain.asides
    assert partition.corrected == plain.corrected
    close(partition, plain)
    assert partition.results == plain.end()
    assert all(row.closed for row in partition.rows.values())


def close(partition: Partition, plain: Plain) -> None:
    """An event of another key, so late that everything is closed."""
    last = reading(10_000, "last")
    partition.batch([last])
    plain.take([last])
    partition.rows = {at: row for at, row in partition.rows.items() if row.key != "last"}
    plain.kept = [one for one in plain.kept if one[2] != "last"]


@given(stream=streams(), cuts=st.lists(st.integers(0, 48), max_size=6))
# Two sessions became one of the same end, and one of another key ends with it.
@example(stream=[("batch", [reading(15.5, "a"), reading(15.5, "b"), reading(11, "a")])], cuts=[])
@pytest.mark.parametrize("window", KINDS, ids=str)
def test_the_division_into_batches_changes_nothing(
    window: Window, stream: list[tuple[str, list[Any]]], cuts: list[int]
) -> None:
    declared = aggregation(window, disorder_s=3.0, lateness_s=4.0)
    events = [event for _, some in stream for event in some]
    whole, divided = Partition(declared), Partition(declared)
    whole.batch(events)
    ends = [0, *sorted(cuts), len(events)]
    for start, end in itertools.pairwise(ends):
        divided.batch(events[start:end])
    for partition in (whole, divided):
        partition.batch([reading(10_000, "last")])
    assert divided.results == whole.results
    assert (divided.asides, divided.corrected) == (whole.asides, whole.corrected)
    assert divided.held.weight_bytes == whole.held.weight_bytes


@given(stream=streams())
@pytest.mark.parametrize("window", KINDS, ids=str)
def test_who_restores_has_what_was_saved(window: Window, stream: list[tuple[str, list[Any]]]) -> None:
    partition = Partition(aggregation(window, disorder_s=3.0, lateness_s=4.0))
    for _, events in stream:
        partition.batch(events)
        weight, windows, watermark = held_of(partition)
        partition.moved()
        assert held_of(partition) == (weight, windows, watermark)


def held_of(partition: Partition) -> tuple[int, int, Any]:
    held = partition.held
    return held.weight_bytes, held.open_windows, held.watermark_at


def test_decimals_of_any_number_are_added_exactly() -> None:
    partition = Partition(aggregation(Tumbling(size_s=60)))
    partition.batch([reading(1, value="99999999.99") for _ in range(5000)])
    partition.batch([reading(2, value="0.01")])
    partition.batch([reading(3600)])
    assert partition.results["a", T0, T0 + timedelta(seconds=60)]["value_sum"] == Decimal("499999999950.01")
