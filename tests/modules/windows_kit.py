"""Windows of `metric_aggregator` without a runtime: a partition as it is held, killed and held again; and what windows
are, in the plainest words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from contracts.aggregation import Aggregation, Hopping, Measure, Results, Session, Tumbling, Window
from contracts.dataset import Column
from contracts.event import Event, EventTime, struct_of
from contracts.metric_aggregator import Reason
from modules.metric_aggregator.held import Held
from modules.metric_aggregator.instant import instant
from modules.metric_aggregator.plan import Plan
from modules.metric_aggregator.told import Aside, Result, Told

T0 = datetime(2026, 1, 1, tzinfo=UTC)
NOW = T0 + timedelta(days=30)

READING = Event(
    name="reading",
    topic="readings",
    key="sensor",
    time=EventTime(column="at", max_future_s=3600.0),
    columns=(
        Column(name="sensor"),
        Column(name="at", type="timestamp", nullable=False),
        Column(name="value", type="decimal", precision=10, scale=2),
        Column(name="level", type="float"),
        Column(name="count", type="int", nullable=False),
        Column(name="good", type="bool", nullable=False, default=True),
    ),
)
Reading: Any = struct_of(READING)
MEASURES = (
    Measure(name="readings", kind="count"),
    Measure(name="values", kind="count", of="value"),
    Measure(name="value_sum", kind="sum", of="value"),
    Measure(name="value_avg", kind="avg", of="value"),
    Measure(name="value_min", kind="min", of="value"),
    Measure(name="level_sum", kind="sum", of="level"),
    Measure(name="level_max", kind="max", of="level"),
    Measure(name="count_sum", kind="sum", of="count"),
    Measure(name="last_at", kind="max", of="at"),
)


def reading(at_s: float, sensor: str | None = "a", value: str | None = "1.50", **others: Any) -> Any:
    """An event `at_s` after `T0`."""
    amount = None if value is None else Decimal(value)
    fields = {"level": 0.1, "count": 1} | others
    return Reading(sensor=sensor, at=T0 + timedelta(seconds=at_s), value=amount, **fields)


def aggregation(window: Window, *, measures: Sequence[Measure] = MEASURES, **others: Any) -> Aggregation:
    fields: dict[str, Any] = {"to": Results(table="results"), "disorder_s": 0.0, "idle_s": None} | others
    made = Aggregation(
        name="readings", event="reading", key=("sensor",), window=window, measures=tuple(measures), **fields
    )
    assert made.faults(READING) == []
    return made


class Partition:
    """One partition as a worker holds it. What is told is kept as a table and its readers would have it."""

    def __init__(self, declared: Aggregation, event: Event = READING) -> None:
        self.plan = Plan(declared, event)
        self.saved: dict[str, bytes] = {}
        self.rows: dict[tuple[Any, int], Result] = {}
        self.asides: list[Aside] = []
        self.corrected = 0
        self.told: list[Told] = []
        self.held = Held(self.plan, now=NOW)

    def batch(self, events: Sequence[Any], now: datetime = NOW) -> Told:
        """Taken and committed."""
        told = self.held.add(events, now)
        self._commit(told)
        return told

    def quiet(self, now: datetime) -> Told:
        told = self.held.let_pass(now)
        if told:
            self._commit(told)
        return told

    def lost(self, events: Sequence[Any], now: datetime = NOW) -> None:
        """Taken, and killed before the commit: someone else begins with what was saved."""
        self.held.add(events, now)
        self.held.save(lambda _name, _data: None)
        self.moved(now)

    def moved(self, now: datetime = NOW) -> None:
        self.held = Held(self.plan, now=now, saved=dict(self.saved))

    def _commit(self, told: Told) -> None:
        self.held.save(self._save)
        for gone in told.retracted:
            del self.rows[gone.key, gone.start]
        assert len({(one.key, one.start) for one in told.results}) == len(told.results), "told twice in a batch"
        for one in told.results:
            before = self.rows.get((one.key, one.start))
            assert one.revision == (0 if before is None else before.revision + 1)
            assert one.corrects == (before is not None and before.closed)
            self.rows[one.key, one.start] = one
        self.asides += told.aside
        self.corrected += told.corrected
        self.told.append(told)

    def _save(self, name: str, data: bytes | None) -> None:
        if data is None:
            del self.saved[name]
        else:
            self.saved[name] = data

    @property
    def results(self) -> dict[tuple[Any, datetime, datetime], dict[str, Any]]:
        """What stands, by key, start and end."""
        names = [measure.name for measure in self.plan.aggregation.measures]
        return {
            (one.key, instant(one.start), instant(one.end)): dict(zip(names, one.values, strict=True))
            for one in self.rows.values()
        }


class Plain:
    """What windows are, in the plainest words: one event after the other, everything looked at each time."""

    def __init__(self, declared: Aggregation, counts: Callable[[Any], bool] | None = None) -> None:
        self.declared = declared
        self.counts = counts
        self.kept: list[tuple[datetime, datetime, Any, list[Any]]] = []
        self.results: dict[tuple[Any, datetime, datetime], list[Any]] = {}
        self.asides: list[tuple[Reason, Any]] = []
        self.corrected = 0
        self.reached: datetime | None = None

    def take(self, events: Iterable[Any]) -> None:
        for event in events:
            self.reached = event.at if self.reached is None else max(self.reached, event.at)
            self._go_on()
            if self.counts is not None and not self.counts(event):
                continue
            windows = self._windows(event)
            if not windows:
                self.asides.append(("late", event))
                continue
            self.corrected += self._own(event)[0][1] <= self._watermark
            for start, end in windows:
                self._put(event, start, end)
            self._go_on()

    @property
    def _watermark(self) -> datetime:
        assert self.reached is not None
        return self.reached - timedelta(seconds=self.declared.disorder_s)

    @property
    def _forgotten(self) -> datetime:
        return self._watermark - timedelta(seconds=self.declared.lateness_s)

    def _own(self, event: Any) -> list[tuple[datetime, datetime]]:
        window = self.declared.window
        if isinstance(window, Session):
            return [(event.at, event.at + timedelta(seconds=window.gap_s))]
        size = timedelta(seconds=window.size_s)
        every = timedelta(seconds=window.every_s if isinstance(window, Hopping) else window.size_s)
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        start, found = epoch + (event.at - epoch) // every * every, []
        while start + size > event.at:
            found.append((start, start + size))
            start -= every
        return found[::-1]

    def _windows(self, event: Any) -> list[tuple[datetime, datetime]]:
        own = self._own(event)
        if isinstance(self.declared.window, Session):
            within = any(key == event.sensor and start <= event.at < end for start, end, key, _ in self.kept)
            return own if within or own[0][1] > self._forgotten else []
        return [one for one in own if one[1] > self._forgotten]

    def _put(self, event: Any, start: datetime, end: datetime) -> None:
        events = [event]
        session = isinstance(self.declared.window, Session)
        for one in list(self.kept):
            same = one[0] < end and start < one[1] if session else one[0] == start
            if one[2] == event.sensor and same:
                self.kept.remove(one)
                start, end, events = min(start, one[0]), max(end, one[1]), one[3] + events
        self.kept.append((start, end, event.sensor, events))

    def _go_on(self) -> None:
        """Windows that can't change any more are results."""
        for one in list(self.kept):
            if one[1] <= self._forgotten:
                self.kept.remove(one)
                self.results[one[2], one[0], one[1]] = one[3]

    def end(self) -> dict[tuple[Any, datetime, datetime], dict[str, Any]]:
        """Everything is closed."""
        self.results |= {(key, start, end): events for start, end, key, events in self.kept}
        return {window: measured(events) for window, events in self.results.items()}


def measured(events: Sequence[Any]) -> dict[str, Any]:
    """`MEASURES`, by hand."""
    values = [event.value for event in events if event.value is not None]
    levels = [event.level for event in events if event.level is not None]
    return {
        "readings": len(events),
        "values": len(values),
        "value_sum": sum(values, Decimal()) if values else None,
        "value_avg": round(sum(values, Decimal()) / len(values), 8) if values else None,
        "value_min": min(values, default=None),
        "level_sum": float(sum(map(Fraction, levels))) if levels else None,
        "level_max": max(levels, default=None),
        "count_sum": sum(event.count for event in events),
        "last_at": max(event.at for event in events),
    }


KINDS: tuple[Window, ...] = (
    Tumbling(size_s=10),
    Hopping(size_s=10, every_s=5),
    Hopping(size_s=10, every_s=4),
    Hopping(size_s=7, every_s=7),
    Session(gap_s=5),
)
