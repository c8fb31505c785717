"""What a user declares about windows over events: `catalog/aggregations/NAME.yaml`, decoded into these.

Events of one key that happened in one window are counted, summed and so on. Windows are aligned to the epoch and
half-open: what happens at the end of one belongs to the next. Time is the events' own: the *watermark* of a partition,
the greatest time that was seen there less `disorder_s`, says up to where all is taken to have come, and closes windows.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from contracts.dataset import ORDERED, Column, Fault, SqlName, TableName
from contracts.event import TOPIC, Event, value_of

NUMBERS: frozenset[str] = frozenset({"int", "float", "decimal"})
"""The types that can be added up."""

BESIDES: tuple[str, ...] = (
    *("window_start", "window_end"),
    *("events", "closed", "revision", "updated_at", "partition"),
)
"""The columns of a result that aren't declared."""

MOST_OVERLAPPING = 1_440
"""In how many hopping windows an event may lie: each of them costs what a tumbling one does."""

Seconds = Annotated[float, Meta(ge=0.001, le=366 * 86400)]
TopicName = Annotated[str, Meta(pattern=TOPIC)]


class Tumbling(msgspec.Struct, frozen=True, kw_only=True, tag="tumbling", tag_field="kind", forbid_unknown_fields=True):
    """Windows of `size_s`, one after the other."""

    size_s: Seconds


class Hopping(msgspec.Struct, frozen=True, kw_only=True, tag="hopping", tag_field="kind", forbid_unknown_fields=True):
    """Windows of `size_s`, of which one begins every `every_s`: an event lies in several."""

    size_s: Seconds
    every_s: Seconds


class Session(msgspec.Struct, frozen=True, kw_only=True, tag="session", tag_field="kind", forbid_unknown_fields=True):
    """From an event of the key to `gap_s` after the last one that came before such a gap."""

    gap_s: Seconds


Window = Tumbling | Hopping | Session


class Condition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an event's column must be for the event to count: compared with `value`, or with `values` for `in`. A null
    meets no condition."""

    column: SqlName
    op: Literal["=", "!=", "<", "<=", ">", ">=", "in"] = "="
    value: str | int | float | bool | None = None
    values: tuple[str | int | float | bool, ...] = ()

    @property
    def given(self) -> tuple[str | int | float | bool, ...]:
        """The value or the values."""
        if self.op == "in":
            return self.values
        return () if self.value is None else (self.value,)


class Measure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One number, or date, of each window: of the events (`count` without `of`), or of their values in the column `of`
    that are not null. `distinct` (about 1.6 % off) and `quantile` (`q` from 0 to 1) are approximations."""

    name: SqlName
    kind: Literal["count", "sum", "avg", "min", "max", "distinct", "quantile"]
    of: SqlName | None = None
    q: Annotated[float, Meta(ge=0, le=1)] | None = None


class Results(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where results go: a `table`, one row a window, and an `address`, a message each time. Windows are told when they
    close and when they are corrected; with `changes` also as they change, at most once a batch. What came too late, or
    has a time or a key that can't be used, goes to the `late_address`."""

    table: TableName | None = None
    address: TopicName | None = None
    changes: bool = False
    late_address: TopicName | None = None


class Aggregation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Windows over the events of one kind, by `key`; the first column of it is the one that the events' topic is keyed
    by, so that the events of a window are all in one partition.

    A window is closed once the watermark has reached its end. Events that come after that are *late*: with `late:
    update` they correct the window for `lateness_s` more. Later ones, and all late ones with `late: side`, go to the
    late address where there is one; with `late: drop` they are counted only. When nothing has come in a partition for
    `idle_s`, its event time goes on at the pace of the clock, so that its windows close (null: they stay open). A
    partition whose state would weigh more than `max_state_bytes` stops.
    """

    name: SqlName
    event: SqlName
    key: Annotated[tuple[SqlName, ...], Meta(min_length=1, max_length=16)]
    window: Window
    measures: Annotated[tuple[Measure, ...], Meta(min_length=1, max_length=100)]
    to: Results
    where: tuple[Condition, ...] = ()
    disorder_s: Annotated[float, Meta(ge=0, le=366 * 86400)] = 10.0
    lateness_s: Annotated[float, Meta(ge=0, le=366 * 86400)] = 0.0
    late: Literal["update", "side", "drop"] = "update"
    idle_s: Annotated[float, Meta(ge=0.1)] | None = 60.0
    max_state_bytes: Annotated[int, Meta(ge=1 << 20, le=4 << 30)] = 256 << 20
    description: str = ""

    def faults(self, event: Event | None = None) -> list[Fault]:
        """Everything that contradicts itself or, where it is given, the event; by path, empty when it can be used."""
        found = self._name_faults() + _window_faults(self.window) + self._late_faults()
        for at, measure in enumerate(self.measures):
            found += [(f"measures[{at}].{path}", why) for path, why in _measure_faults(measure)]
        for at, condition in enumerate(self.where):
            if condition.op == "in" and (not condition.values or condition.value is not None):
                found.append((f"where[{at}].values", "op: in needs a list of values, and no value"))
            if condition.op != "in" and (condition.value is None or condition.values):
                found.append((f"where[{at}].value", f"op: {condition.op!r} needs a value, and no list of values"))
        return found if event is None else found + self._event_faults(event)

    def _name_faults(self) -> list[Fault]:
        found: list[Fault] = []
        for at, name in enumerate(self.key):
            if name in self.key[:at]:
                found.append((f"key[{at}]", f"{name!r} is there twice"))
            elif name in BESIDES:
                found.append((f"key[{at}]", f"{name!r} is a column of every result: give the event's another name"))
        for at, measure in enumerate(self.measures):
            if measure.name in [known.name for known in self.measures[:at]]:
                found.append((f"measures[{at}].name", f"{measure.name!r} is there twice"))
            elif measure.name in (*self.key, *BESIDES):
                taken = ", ".join((*self.key, *BESIDES))
                found.append((f"measures[{at}].name", f"{measure.name!r} is a column of the result already ({taken})"))
        return found

    def _late_faults(self) -> list[Fault]:
        found: list[Fault] = []
        to = self.to
        if to.table is None and to.address is None:
            found.append(("to", "name a table, an address, or both"))
        if to.table is not None and to.table.startswith("millrace."):
            found.append(("to.table", "the schema millrace is the runtime's own: take another one"))
        if to.address is not None and to.address == to.late_address:
            found.append(("to.late_address", "is that of the results as well: late events are other messages"))
        if self.late == "side" and to.late_address is None:
            found.append(("to.late_address", "late: side needs it: it is where late events go"))
        if self.late == "drop" and to.late_address is not None:
            found.append(("to.late_address", "is for late: side or update; late: drop counts late events only"))
        if self.late != "update" and self.lateness_s:
            found.append(("lateness_s", f"is for late: update; with late: {self.late} a closed window stays as it is"))
        return found

    def _event_faults(self, event: Event) -> list[Fault]:
        columns = {column.name: column for column in event.columns}
        found: list[Fault] = []
        if event.time is None:
            found.append(("event", f"{event.name} has no time: windows need one, declare its time.column"))
        found += [
            (f"to.{path}", f"{event.topic} is where the events come from")
            for path in ("address", "late_address")
            if getattr(self.to, path) == event.topic
        ]
        if self.key[0] != event.key:
            found.append(("key[0]", _not_keyed(self.key[0], event)))
        for at, name in enumerate(self.key):
            if name not in columns:
                found.append((f"key[{at}]", _unknown(name, columns)))
            elif columns[name].type in ("json", "float"):
                found.append((f"key[{at}]", f"{name} is {columns[name].type}, which has no equality to go by"))
        for at, measure in enumerate(self.measures):
            if measure.of is not None and measure.of not in columns:
                found.append((f"measures[{at}].of", _unknown(measure.of, columns)))
            elif measure.of is not None and (why := _unfit(measure, columns[measure.of])):
                found.append((f"measures[{at}].of", why))
        for at, condition in enumerate(self.where):
            found += [(f"where[{at}].{path}", why) for path, why in _condition_faults(condition, columns)]
        return found


def _not_keyed(name: str, event: Event) -> str:
    keyed = f"keyed by {event.key}" if event.key else "not keyed"
    first = f"begin the key with {event.key}, or " if event.key else ""
    return (
        f"the topic {event.topic} is {keyed}, so the events of one {name} are in several partitions, and windows"
        f" are kept by partition: {first}let event_enricher republish the events on a topic that is keyed by {name}"
    )


def _unknown(name: str, columns: dict[str, Column]) -> str:
    return f"{name!r} is not among the columns of the event ({', '.join(columns)})"


def _window_faults(window: Window) -> list[Fault]:
    sizes = {f"window.{name}": getattr(window, name) for name in window.__struct_fields__}
    found = [
        (path, f"{size} s is no whole number of milliseconds")
        for path, size in sizes.items()
        if abs(size * 1000 - round(size * 1000)) > 1e-6
    ]
    if isinstance(window, Hopping):
        if window.every_s > window.size_s:
            found.append(("window.every_s", "is longer than size_s, so that events would lie between the windows"))
        elif window.size_s / window.every_s > MOST_OVERLAPPING:
            why = f"puts an event into {window.size_s / window.every_s:.0f} windows, at most {MOST_OVERLAPPING} are"
            found.append(("window.every_s", f"{why} allowed: make it longer, or size_s shorter"))
    return found


def _measure_faults(measure: Measure) -> list[Fault]:
    found: list[Fault] = []
    if measure.of is None and measure.kind != "count":
        found.append(("of", f"{measure.kind} needs a column: of which values?"))
    if measure.kind == "quantile" and measure.q is None:
        found.append(("q", "quantile needs q: 0.5 is the median"))
    if measure.kind != "quantile" and measure.q is not None:
        found.append(("q", f"is for kind: quantile, not {measure.kind}"))
    return found


def _unfit(measure: Measure, column: Column) -> str | None:
    allowed: dict[str, Any] = {"sum": NUMBERS, "avg": NUMBERS, "quantile": NUMBERS, "min": ORDERED, "max": ORDERED}
    fitting = allowed.get(measure.kind)
    if fitting is not None and column.type not in fitting:
        return f"{measure.kind} is for {', '.join(sorted(fitting))}; {column.name} is {column.type}"
    if measure.kind == "distinct" and column.type == "json":
        return f"{column.name} is json, which has no equality to go by"
    return None


def _condition_faults(condition: Condition, columns: dict[str, Column]) -> list[Fault]:
    if condition.column not in columns:
        return [("column", _unknown(condition.column, columns))]
    column = columns[condition.column]
    if condition.op in ("<", "<=", ">", ">=") and column.type not in ORDERED:
        return [("op", f"{condition.op!r} is for {', '.join(sorted(ORDERED))}; {column.name} is {column.type}")]
    if column.type == "json":
        return [("column", f"{column.name} is json, which has no equality to go by")]
    found: list[Fault] = []
    for at, value in enumerate(condition.given):
        try:
            value_of(column, value)
        except ValueError:
            path = f"values[{at}]" if condition.op == "in" else "value"
            found.append((path, f"{value!r} is not a value of {column.name}, which is {column.type}"))
    return found
