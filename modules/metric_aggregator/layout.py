"""What each window of an aggregation holds, and how the values of many events come into it at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import repeat
from operator import attrgetter
from typing import Any

import msgspec

from contracts.aggregation import Aggregation, Measure
from contracts.dataset import Column
from contracts.event import Event
from modules.metric_aggregator.cells import Cell, Kept, average_of, cell_of, total
from modules.metric_aggregator.keys import text_of
from modules.metric_aggregator.sketches import Distinct, Quantiles, library

WINDOW_BYTES = 320
"""What a window weighs in memory with its place in the dictionaries, about; and each cell, and column of its key:"""
CELL_BYTES = 72
KEY_BYTES = 56

_KEPT: dict[str, tuple[Kept, ...]] = {
    "count": ("count",),
    "sum": ("count", "sum"),
    "avg": ("count", "sum"),
    "min": ("min",),
    "max": ("max",),
    "distinct": ("distinct",),
    "quantile": ("quantile",),
}


class Window(msgspec.Struct, array_like=True, gc=False):
    """A window of one key. `revision` is what its next result will have; `closed`: it was told as closed."""

    events: int
    revision: int
    closed: bool
    cells: tuple[Any, ...]


class Layout:
    """Of one aggregation. Measures that need the same of a column share its cell."""

    def __init__(self, aggregation: Aggregation, event: Event) -> None:
        measures = aggregation.measures
        self._columns = {measure.of: event.column(measure.of) for measure in measures if measure.of is not None}
        self._certain = {name: not _can_be_null(column) for name, column in self._columns.items()}
        self._places: dict[tuple[Kept, str], int] = {}
        self._cells: list[Cell] = []
        self._folds: list[tuple[Callable[[Any, Sequence[Any]], Any], int]] = []
        for measure in measures:
            for kind in _KEPT[measure.kind]:
                self._place(kind, measure.of)
        self._sketched = any(kind in ("distinct", "quantile") for kind, _ in self._places)
        if self._sketched:
            library()
        self._empty = None if self._sketched else self._cells_of_none()
        self._values = [self._value_of(measure) for measure in measures]
        self._values_of = attrgetter(*self._columns) if self._columns else None
        self._nullable = [not certain for certain in self._certain.values()]
        self._bytes = WINDOW_BYTES + KEY_BYTES * len(aggregation.key) + CELL_BYTES * len(self._cells)
        self._empty_bytes = self._bytes + (self._sketch_bytes(self.empty()) if self._sketched else 0)
        self._text_of = text_of(aggregation, event)

    def _place(self, kind: Kept, of: str | None) -> None:
        """Of a column that is never null there are as many values as events."""
        if of is None or (kind == "count" and self._certain[of]) or (kind, of) in self._places:
            return
        cell = cell_of(kind, self._columns[of])
        self._places[kind, of] = len(self._cells)
        self._cells.append(cell)
        self._folds.append((cell.fold, list(self._columns).index(of)))

    def _cells_of_none(self) -> tuple[Any, ...]:
        return tuple([cell.empty() for cell in self._cells])

    @property
    def saved_as(self) -> Any:
        """The type by which a window is restored."""
        cells = tuple(cell.saved_as for cell in self._cells)
        return tuple[int, int, bool, tuple[cells] if cells else tuple[()]]  # type: ignore[misc,valid-type]

    # Values come in.

    def empty(self) -> Window:
        return Window(0, 0, False, self._cells_of_none() if self._empty is None else self._empty)

    def read(self, events: Iterable[msgspec.Struct]) -> Iterable[Any]:
        """What is needed of each event, for `columns`."""
        return repeat(None) if self._values_of is None else map(self._values_of, events)

    def columns(self, read: list[Any]) -> Sequence[Sequence[Any]]:
        """What was read of some events, by column, without nulls."""
        if len(self._nullable) == 1:
            return ([value for value in read if value is not None],) if self._nullable[0] else (read,)
        if not self._nullable:
            return ()
        by_column = zip(*read, strict=True)
        return [
            [value for value in values if value is not None] if nullable else values
            for nullable, values in zip(self._nullable, by_column, strict=True)
        ]

    def fold(self, window: Window, count: int, columns: Sequence[Sequence[Any]]) -> int:
        """Take in the values of `count` events. Returns by how much its sketches weigh more now, in bytes. Decimals
        need the context `cells.EXACT`."""
        before = self._sketch_bytes(window) if self._sketched else 0
        window.events += count
        window.cells = tuple(
            [
                fold(value, columns[at]) if columns[at] else value
                for (fold, at), value in zip(self._folds, window.cells)  # noqa: B905 - this is where the time goes
            ]
        )
        return self._sketch_bytes(window) - before if self._sketched else 0

    def join(self, one: Window, other: Window) -> None:
        """Take in all of another window."""
        one.events += other.events
        pairs = zip(self._cells, one.cells, other.cells, strict=True)
        one.cells = tuple([cell.join(a, b) for cell, a, b in pairs])

    # Values come out.

    def values(self, window: Window) -> tuple[Any, ...]:
        """The measures, in their order; null where there was no value."""
        return tuple([value_of(window) for value_of in self._values])

    def _value_of(self, measure: Measure) -> Callable[[Window], Any]:
        of, q = measure.of, measure.q
        if of is None:
            return lambda window: window.events
        count_of = self._count_of(of)
        if measure.kind == "count":
            return count_of
        at = self._places["sum" if measure.kind == "avg" else measure.kind, of]
        if measure.kind == "sum":
            return lambda window: total(window.cells[at]) if count_of(window) else None
        if measure.kind == "avg":
            average = average_of(self._columns[of])
            return lambda window: average(window.cells[at], count) if (count := count_of(window)) else None
        if measure.kind == "distinct":
            return lambda window: window.cells[at].value
        if measure.kind == "quantile":
            return lambda window: window.cells[at].at(q)
        return lambda window: window.cells[at]

    def _count_of(self, of: str) -> Callable[[Window], int]:
        if self._certain[of]:
            return lambda window: window.events
        at = self._places.get(("count", of), 0)
        return lambda window: window.cells[at]

    # What it weighs.

    def weigh(self, windows: Mapping[Any, Window]) -> int:
        """About what these weigh in memory with their keys and their places in dictionaries, in bytes."""
        texts = 0 if self._text_of is None else sum(map(self._text_of, windows))
        sketches = sum(map(self._sketch_bytes, windows.values())) if self._sketched else 0
        return self._bytes * len(windows) + texts + sketches

    def begun_bytes(self, key: Any) -> int:
        """The same of an empty one."""
        return self._empty_bytes if self._text_of is None else self._empty_bytes + self._text_of(key)

    def _sketch_bytes(self, window: Window) -> int:
        return sum([cell.weight_bytes for cell in window.cells if isinstance(cell, (Distinct, Quantiles))])


def _can_be_null(column: Column) -> bool:
    return column.nullable and column.default is None


def encoded_by(cell: Any) -> Any:
    """Sketches as they are saved."""
    if isinstance(cell, (Distinct, Quantiles)):
        return cell.packed()
    raise NotImplementedError


def decoded_by(type_: type, packed: Any) -> Any:
    """Sketches as they were saved."""
    if type_ is Distinct:
        return Distinct(packed)
    if type_ is Quantiles:
        return Quantiles((packed[0], packed[1]))
    raise NotImplementedError
