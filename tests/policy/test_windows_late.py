"""What becomes of events that come late, early, from nowhere, or not at all; and of windows that are too many."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from contracts.aggregation import Condition, Hopping, Measure, Results, Session, Tumbling
from contracts.errors import Blocked
from contracts.event import EventTime
from tests.modules.windows_kit import NOW, READING, T0, Partition, aggregation, reading

MINUTE = Tumbling(size_s=60)
SIDE = Results(table="results", late_address="readings.late")
AN_HOUR = timedelta(hours=1)


def minute(number: int) -> Any:
    return "a", T0 + timedelta(minutes=number), T0 + timedelta(minutes=number + 1)


def revisions(partition: Partition) -> list[tuple[float, int, bool, bool]]:
    """What was told: seconds of the start, revision, closed, corrects."""
    start = int(T0.timestamp())
    return [
        (one.start / 1e6 - start, one.revision, one.closed, one.corrects)
        for told in partition.told
        for one in told.results
    ]


def test_a_window_is_told_when_the_watermark_has_come_to_its_end() -> None:
    partition = Partition(aggregation(MINUTE, disorder_s=5))
    partition.batch([reading(0), reading(59.9), reading(60), reading(64.999999)])
    assert partition.results == {}
    partition.batch([reading(65)])
    assert list(partition.results) == [minute(0)]
    assert partition.results[minute(0)]["readings"] == 2
    assert partition.held.watermark_at == T0 + timedelta(seconds=60)


def test_a_late_event_corrects_its_window_until_it_is_forgotten() -> None:
    partition = Partition(aggregation(MINUTE, lateness_s=30, to=SIDE))
    partition.batch([reading(0), reading(60)])
    partition.batch([reading(1)])
    partition.batch([reading(89)])
    partition.batch([reading(2), reading(3)])
    assert revisions(partition) == [(0, 0, True, False), (0, 1, True, True), (0, 2, True, True)]
    assert partition.results[minute(0)]["readings"] == 4
    partition.batch([reading(90), reading(4)])
    assert partition.results[minute(0)]["readings"] == 4
    assert [(one.reason, one.event) for one in partition.asides] == [("late", reading(4))]
    assert partition.corrected == 3


@pytest.mark.parametrize("late", ["side", "drop"])
def test_without_corrections_a_closed_window_stays_as_it_is(late: Any) -> None:
    to = SIDE if late == "side" else Results(table="results")
    partition = Partition(aggregation(MINUTE, late=late, to=to))
    partition.batch([reading(0), reading(60), reading(59)])
    assert partition.results[minute(0)]["readings"] == 1
    assert [one.event for one in partition.asides] == [reading(59)]
    assert partition.held.open_windows == 1


def test_a_late_event_of_an_unknown_window_begins_it() -> None:
    partition = Partition(aggregation(MINUTE, lateness_s=300))
    partition.batch([reading(200)])
    partition.batch([reading(0)])
    assert revisions(partition) == [(0, 0, True, False)]
    assert partition.corrected == 1


def test_of_hopping_windows_those_that_are_open_take_an_event() -> None:
    partition = Partition(aggregation(Hopping(size_s=60, every_s=30)))
    partition.batch([reading(61), reading(31)])
    partition.batch([reading(1000)])
    counts = {start: values["readings"] for (_, start, _), values in partition.results.items()}
    assert counts == {T0 + timedelta(seconds=30): 2, T0 + timedelta(seconds=60): 1}
    assert (partition.asides, partition.corrected) == ([], 1)


def test_changes_are_told_once_a_batch() -> None:
    partition = Partition(aggregation(MINUTE, to=Results(table="results", changes=True)))
    partition.batch([reading(0), reading(1)])
    partition.batch([reading(2)])
    partition.batch([reading(60)])
    assert revisions(partition) == [
        (0, 0, False, False),
        (0, 1, False, False),
        (0, 2, True, False),
        (60, 0, False, False),
    ]


def test_sessions_that_become_one_leave_one() -> None:
    partition = Partition(aggregation(Session(gap_s=10), lateness_s=1000))
    partition.batch([reading(0), reading(15), reading(100)])
    assert len(partition.results) == 2
    told = partition.batch([reading(8)])
    assert [(one.start, one.revision) for one in told.retracted] == [(int(T0.timestamp() + 15) * 1_000_000, 1)]
    assert {(start, end): values["readings"] for (_, start, end), values in partition.results.items()} == {
        (T0, T0 + timedelta(seconds=25)): 3
    }


def test_a_session_that_begins_earlier_leaves_its_old_start() -> None:
    partition = Partition(aggregation(Session(gap_s=10), lateness_s=1000))
    partition.batch([reading(5), reading(100)])
    partition.batch([reading(0)])
    assert [(start, end) for _, start, end in partition.results] == [(T0, T0 + timedelta(seconds=15))]


def test_a_closed_session_that_goes_on_is_told_as_open() -> None:
    partition = Partition(aggregation(Session(gap_s=10), lateness_s=1000))
    partition.batch([reading(0), reading(12, "b")])
    partition.batch([reading(9)])
    assert revisions(partition) == [(0, 0, True, False), (0, 1, False, True)]
    partition.batch([reading(30, "b")])
    assert revisions(partition)[-1] == (12, 0, True, False)
    assert partition.results["a", T0, T0 + timedelta(seconds=19)]["readings"] == 2


# Event time.


def test_events_out_of_bounds_are_put_aside_and_move_nothing() -> None:
    event = msgspec.structs.replace(READING, time=EventTime(column="at", max_future_s=60, max_past_s=7200))
    partition = Partition(aggregation(MINUTE, to=SIDE), event)
    now = T0 + AN_HOUR
    partition.batch([reading(3600), reading(3661), reading(-3601), reading(3660)], now=now)
    assert [(one.reason, one.event) for one in partition.asides] == [
        ("future", reading(3661)),
        ("past", reading(-3601)),
    ]
    assert partition.held.watermark_at == T0 + timedelta(seconds=3660)


@pytest.mark.parametrize("year", [1, 9999])
def test_where_dates_end_there_are_no_windows(year: int) -> None:
    event = msgspec.structs.replace(READING, time=EventTime(column="at", max_future_s=1e18))
    partition = Partition(aggregation(Tumbling(size_s=366 * 86400)), event)
    partition.batch([msgspec.structs.replace(reading(0), at=T0.replace(year=year)), reading(0)])
    assert [one.reason for one in partition.asides] == ["past" if year == 1 else "future"]
    assert partition.held.open_windows == 1


def test_a_quiet_partition_goes_on_with_the_clock() -> None:
    partition = Partition(aggregation(MINUTE, idle_s=20, disorder_s=5))
    partition.batch([reading(30)], now=NOW)
    partition.quiet(NOW + timedelta(seconds=20 + 34))
    assert partition.results == {}
    partition.quiet(NOW + timedelta(seconds=20 + 35))
    assert list(partition.results) == [minute(0)]
    partition.batch([reading(31)], now=NOW + timedelta(seconds=56))
    assert [one.reason for one in partition.asides] == ["late"]


def test_what_nobody_looked_at_was_not_quiet() -> None:
    partition = Partition(aggregation(MINUTE, idle_s=20))
    partition.batch([reading(30)], now=NOW)
    partition.moved(NOW + AN_HOUR)
    partition.quiet(NOW + AN_HOUR + timedelta(seconds=19))
    assert partition.results == {}


def test_events_that_do_not_count_are_no_quiet() -> None:
    declared = aggregation(MINUTE, idle_s=20, where=(Condition(column="count", op=">", value=1),))
    partition = Partition(declared)
    partition.batch([reading(30, count=2)], now=NOW)
    partition.batch([reading(31)], now=NOW + timedelta(seconds=15))
    partition.quiet(NOW + timedelta(seconds=34))
    assert partition.held.watermark_at == T0 + timedelta(seconds=31)


def test_with_no_idle_time_windows_stay_open() -> None:
    partition = Partition(aggregation(MINUTE, idle_s=None))
    partition.batch([reading(30)])
    assert not partition.quiet(NOW + timedelta(days=300))


def test_a_partition_without_events_has_no_time() -> None:
    partition = Partition(aggregation(MINUTE, idle_s=1))
    assert not partition.quiet(NOW + AN_HOUR)
    assert partition.held.watermark_at is None


# What counts.


@pytest.mark.parametrize(
    ("condition", "kept"),
    [
        (Condition(column="count", op="=", value=2), [2]),
        (Condition(column="count", op="!=", value=2), [1, 3]),
        (Condition(column="count", op="<", value=2), [1]),
        (Condition(column="count", op="<=", value=2), [1, 2]),
        (Condition(column="count", op=">", value=2), [3]),
        (Condition(column="count", op=">=", value=2), [2, 3]),
        (Condition(column="count", op="in", values=(1, 3)), [1, 3]),
        (Condition(column="value", op="=", value="1.5"), [1]),
        (Condition(column="value", op="!=", value=2.25), [1]),
        (Condition(column="at", op=">", value="2026-01-01T00:00:01Z"), [2, 3]),
        (Condition(column="good", op="=", value=True), [1, 2, 3]),
    ],
    ids=lambda value: str(value)[:80],
)
def test_conditions(condition: Condition, kept: list[int]) -> None:
    events = [reading(1, count=1), reading(2, value="2.25", count=2), reading(3, value=None, count=3)]
    measures = (Measure(name="sum", kind="sum", of="count"),)
    partition = Partition(aggregation(MINUTE, where=(condition,), measures=measures))
    partition.batch([*events, reading(1000, value="1.5", count=2)])
    partition.quiet(NOW)
    partition.batch([reading(5000)])
    assert partition.results[minute(0)]["sum"] == sum(kept)


def test_all_conditions_have_to_be_met_also_by_what_is_put_aside() -> None:
    where = (Condition(column="count", op=">", value=1), Condition(column="count", op="<", value=4))
    partition = Partition(aggregation(MINUTE, where=where, to=SIDE))
    partition.batch([reading(0, count=2), reading(60, count=9), reading(1, count=1), reading(2, count=3)])
    assert partition.results[minute(0)]["readings"] == 1
    assert [one.event for one in partition.asides] == [reading(2, count=3)]


@pytest.mark.parametrize("key", [None, "a\0b", "x" * 1001, "ü" * 501])
def test_a_key_that_no_row_can_have_is_put_aside(key: str | None) -> None:
    partition = Partition(aggregation(MINUTE, to=SIDE))
    partition.batch([reading(0), reading(1, key), reading(2, "x" * 1000), reading(3, "ü" * 500)])
    assert [(one.reason, getattr(one.event, "sensor")) for one in partition.asides] == [("key", key)]  # noqa: B009
    assert partition.held.open_windows == 3


# What it weighs, and how it is saved.


def many(keys: int, at_s: float = 0.0) -> list[Any]:
    return [reading(at_s, f"sensor {number}") for number in range(keys)]


@pytest.mark.parametrize("window", [MINUTE, Hopping(size_s=60, every_s=1), Session(gap_s=5)], ids=str)
def test_too_many_windows_stop_the_partition(window: Any) -> None:
    partition = Partition(aggregation(window, max_state_bytes=1 << 20))
    with pytest.raises(
        Blocked, match=r"aggregation readings: .* raise it, make windows or lateness_s shorter"
    ) as error:
        partition.batch(many(5000))
    assert "nothing is lost" in str(error.value)
    partition.moved()
    partition.batch(many(10))
    assert partition.held.weight_bytes < 1 << 20


def test_weight_goes_with_the_windows() -> None:
    partition = Partition(aggregation(MINUTE))
    assert partition.held.weight_bytes == 0
    partition.batch(many(100))
    once = partition.held.weight_bytes
    partition.batch(many(100))
    assert partition.held.weight_bytes == once
    partition.batch(many(1, 60.0))
    assert 0 < partition.held.weight_bytes < once / 50


def test_a_batch_saves_what_it_changed() -> None:
    partition = Partition(aggregation(MINUTE, disorder_s=1000))
    partition.batch(many(5000))
    before = dict(partition.saved)
    partition.batch([reading(1, "sensor 7")])
    added = [data for name, data in partition.saved.items() if before.get(name) != data]
    assert sum(map(len, added)) < 500


def test_now_and_then_everything_is_saved_and_the_changes_are_deleted() -> None:
    partition = Partition(aggregation(MINUTE, disorder_s=1000))
    written: list[int] = []
    for number in range(300):
        before = dict(partition.saved)
        partition.batch([reading(1, f"sensor {number % 50}")])
        written.append(sum(len(data) for name, data in partition.saved.items() if before.get(name) != data))
    bases = [name for name in partition.saved if name.startswith("base/")]
    assert bases == ["base/000000"]
    assert len(partition.saved) < 70
    assert sum(written) < 300 * 2 * 400
    partition.moved()
    partition.batch([reading(5000)])
    assert partition.results["sensor 7", *minute(0)[1:]]["readings"] == 6


def test_a_large_base_is_saved_in_pieces() -> None:
    partition = Partition(aggregation(MINUTE, disorder_s=1000))
    for _ in range(3):
        for start in range(0, 60_000, 5000):
            partition.batch([reading(1, f"{number:0200}") for number in range(start, start + 5000)])
    bases = {name: len(data) for name, data in partition.saved.items() if name.startswith("base/")}
    assert len(bases) > 1
    assert max(map(len, partition.saved.values())) < (8 << 20) + 1024
    weight = partition.held.weight_bytes
    partition.moved()
    assert (partition.held.open_windows, partition.held.weight_bytes) == (60_000, weight)
    partition.batch([reading(5000)])
    assert {values["readings"] for values in partition.results.values()} == {3}


def test_what_was_saved_by_another_declaration_is_refused() -> None:
    partition = Partition(aggregation(MINUTE))
    partition.batch([reading(1)])
    other = Partition(aggregation(Tumbling(size_s=61)))
    other.saved = partition.saved
    with pytest.raises(Blocked, match="aggregation readings was changed since its windows were saved"):
        other.moved()


def test_bounds_of_time_may_change_and_nothing_goes_back() -> None:
    partition = Partition(aggregation(MINUTE, disorder_s=0))
    partition.batch([reading(0), reading(60)])
    patient = Partition(aggregation(MINUTE, disorder_s=1000, lateness_s=1000))
    patient.saved = partition.saved
    patient.moved()
    patient.batch([reading(1)])
    assert [one.reason for one in patient.asides] == ["late"]


def test_sums_beyond_64_bits_are_saved_and_restored() -> None:
    partition = Partition(aggregation(MINUTE))
    for _ in range(3):
        partition.batch([reading(1, count=(1 << 63) - 1), reading(1, count=(1 << 63) - 1)])
        partition.moved()
    partition.batch([reading(60)])
    assert partition.results[minute(0)]["count_sum"] == 6 * ((1 << 63) - 1)


def test_a_float_sum_that_no_float_holds_is_infinite() -> None:
    partition = Partition(aggregation(MINUTE))
    partition.batch([reading(1, level=1.7e308), reading(1, level=1.7e308)])
    partition.moved()
    partition.batch([reading(1, level=1.0), reading(60)])
    assert partition.results[minute(0)]["level_sum"] == float("inf")


def test_an_average_has_six_more_digits() -> None:
    measures = (Measure(name="avg", kind="avg", of="value"), Measure(name="mean", kind="avg", of="count"))
    partition = Partition(aggregation(MINUTE, measures=measures))
    partition.batch([reading(1, value=value, count=count) for value, count in (("0.01", 1), ("0.01", 0), ("0.02", 0))])
    partition.batch([reading(60)])
    assert partition.results[minute(0)] == {"avg": Decimal("0.01333333"), "mean": Decimal("0.333333")}
