"""Approximations are as close as they say, and a repeat comes to the same."""

from __future__ import annotations

import random
import sys
import uuid
from datetime import date, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.aggregation import Measure, Session, Tumbling
from contracts.dataset import Column
from contracts.errors import Permanent
from modules.metric_aggregator.cells import cell_of
from modules.metric_aggregator.sketches import AT_ONCE, Distinct, Quantiles
from tests.modules.windows_kit import T0, Partition, aggregation, reading

pytest.importorskip("datasketches", reason="the extra `sketches` has no wheel for this Python")

SKETCHES = (
    Measure(name="sensors", kind="distinct", of="value"),
    Measure(name="median", kind="quantile", of="level", q=0.5),
    Measure(name="most", kind="quantile", of="level", q=0.99),
)


def test_they_are_close() -> None:
    distinct, quantiles, draw = Distinct(), Quantiles(), random.Random(1)
    values = [round(draw.lognormvariate(0, 1), 2) for _ in range(50_000)]
    distinct.add(values)
    quantiles.add(values)
    ordered = sorted(values)
    assert distinct.value == pytest.approx(len(set(values)), rel=0.05)
    for q in (0.01, 0.5, 0.9, 0.99):
        near = [ordered[int(at * len(ordered))] for at in (q - 0.005, q + 0.005)]
        assert near[0] <= (quantiles.at(q) or 0) <= near[1]


def test_many_different_values_are_told_within_some_percent() -> None:
    distinct = Distinct()
    distinct.add(range(200_000))
    assert abs(distinct.value - 200_000) < 200_000 * 0.05


@given(st.lists(st.floats(-1e6, 1e6), max_size=3 * AT_ONCE), st.lists(st.integers(0, 3 * AT_ONCE), max_size=5))
def test_saving_and_dividing_change_nothing(values: list[float], cuts: list[int]) -> None:
    whole, divided = Quantiles(), Quantiles()
    counted, counted_again = Distinct(), Distinct()
    whole.add(values)
    counted.add(values)
    at = 0
    for cut in [*sorted(cuts), len(values)]:
        divided.add(values[at:cut])
        counted_again.add(values[at:cut])
        divided, counted_again = Quantiles(divided.packed()), Distinct(counted_again.packed())
        at = max(at, cut)
    assert [divided.at(q) for q in (0, 0.5, 1)] == [whole.at(q) for q in (0, 0.5, 1)]
    assert counted_again.value == counted.value
    assert divided.weight_bytes == whole.weight_bytes


def test_of_few_values_quantiles_are_exact() -> None:
    quantiles = Quantiles()
    assert quantiles.at(0.5) is None
    quantiles.add([3.0, 1.0, 2.0])
    assert [quantiles.at(q) for q in (0.0, 0.4, 0.99, 1.0)] == [1.0, 2.0, 3.0, 3.0]


@pytest.mark.parametrize(
    ("type_", "values", "different"),
    [
        ("decimal", [Decimal("1.0"), Decimal("1.00"), Decimal("-0"), Decimal("0.0")], 2),
        ("timestamp", [T0, T0.astimezone(timezone(timedelta(hours=2))), T0 + timedelta(microseconds=1)], 2),
        ("date", [date(2026, 1, 1), date(2026, 1, 2)], 2),
        ("bool", [True, False, True], 2),
        ("uuid", [uuid.UUID(int=1), uuid.UUID(int=1), uuid.UUID(int=2)], 2),
        ("text", ["", "a", "A"], 3),
        ("int", [0, -1, 1 << 62], 3),
        ("float", [0.5, 1.5, 0.5], 2),
    ],
)
def test_what_is_equal_counts_once(type_: Any, values: list[Any], different: int) -> None:
    cell = cell_of("distinct", Column(name="c", type=type_))
    assert cell.fold(cell.empty(), values).value == different


def test_a_partition_keeps_saves_and_restores_them() -> None:
    partition, other = (Partition(aggregation(Tumbling(size_s=60), measures=SKETCHES)) for _ in range(2))
    events = [reading(number / 100, value=f"{number % 700}.00", level=float(number % 997)) for number in range(5000)]
    weight = 0
    partition.batch(events)
    weight = 0
    for start in range(0, 5000, 333):
        other.batch(events[start : start + 333])
        weight = other.held.weight_bytes
        other.lost(events[:10])
        assert other.held.weight_bytes == weight
    for one in (partition, other):
        one.batch([reading(60)])
    assert partition.results == other.results
    (told,) = partition.results.values()
    assert abs(told["sensors"] - 700) < 700 * 0.05
    assert abs(told["median"] - 498) < 20
    assert partition.held.weight_bytes < weight


def test_sessions_that_become_one_join_theirs() -> None:
    partition = Partition(aggregation(Session(gap_s=5), measures=SKETCHES, lateness_s=100))
    for at in (0.0, 8.0):
        partition.batch([reading(at, value=f"{number}", level=float(number)) for number in range(1000)])
    partition.batch([reading(4, value="5000", level=0.0), reading(200)])
    told = partition.results["a", T0, T0 + timedelta(seconds=13)]
    assert abs(told["sensors"] - 1001) < 1001 * 0.05
    assert abs(told["median"] - 500) < 20


def test_without_the_package_it_is_said_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasketches", None)
    with pytest.raises(Permanent, match="install the extra `sketches`, or leave these measures out"):
        Partition(aggregation(Tumbling(size_s=60), measures=SKETCHES))
    Partition(aggregation(Tumbling(size_s=60)))
