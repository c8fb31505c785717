"""What each window of an aggregation holds, and how the values of many events come into it at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from operator import attrgetter
from typing import Any

import msgspec

from contracts.aggregation import Aggregation, Measure
from contracts.dataset import Column
from contracts.event import Event
from modules.metric_aggregator.cells import Cell, Kept, average, cell_of, total
from modules.metric_aggregator.sketches import Distinct, Quantiles, library

WINDOW_BYTES = 320
"""What a window weighs in memory with its place in the dictionaries, about; and each of its cells:"""
CELL_BYTES = 72

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
        self._measures = aggregation.measures
        self._columns = {measure.of: event.column(measure.of) for measure in self._measures if measure.of is not None}
        self._certain = {name: not _can_be_null(column) for name, column in self._columns.items()}
        self._places: dict[tuple[Kept, str], int] = {}
        self._cells: list[tuple[Cell, int]] = []
        for measure in self._measures:
            for kind in _KEPT[measure.kind]:
                self._place(kind, measure.of)
        self.sketched = any(kind in ("distinct", "quantile") for kind, _ in self._places)
        if self.sketched:
            library()
        self.weight_bytes = WINDOW_BYTES + CELL_BYTES * len(self._cells)
        self._values_of = attrgetter(*self._columns) if self._columns else None
        self._nullable = [not certain for certain in self._certain.values()]

    def _place(self, kind: Kept, of: str | None) -> None:
        """Of a column that is never null there are as many values as events."""
        if of is None or (kind == "count" and self._certain[of]) or (kind, of) in self._places:
            return
        self._places[kind, of] = len(self._cells)
        self._cells.append((cell_of(kind, self._columns[of]), list(self._columns).index(of)))

    @property
    def saved_as(self) -> Any:
        """The type by which a window is restored."""
        cells = tuple(cell.saved_as for cell, _ in self._cells)
        return tuple[int, int, bool, tuple[cells] if cells else tuple[()]]  # type: ignore[valid-type]

    def empty(self) -> Window:
        return Window(0, 0, False, tuple([cell.empty() for cell, _ in self._cells]))

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
        before = self.sketch_bytes(window) if self.sketched else 0
        window.events += count
        window.cells = tuple(
            [
                cell.fold(value, columns[at]) if columns[at] else value
                for (cell, at), value in zip(self._cells, window.cells)  # noqa: B905 - this is where the time goes
            ]
        )
        return self.sketch_bytes(window) - before if self.sketched else 0

    def join(self, one: Window, other: Window) -> None:
        """Take in all of another window."""
        one.events += other.events
        pairs = zip(self._cells, one.cells, other.cells, strict=True)
        one.cells = tuple([cell.join(a, b) for (cell, _), a, b in pairs])

    def sketch_bytes(self, window: Window) -> int:
        """What its sketches weigh beyond their cells."""
        if not self.sketched:
            return 0
        return sum(cell.weight_bytes for cell in window.cells if isinstance(cell, (Distinct, Quantiles)))

    def values(self, window: Window) -> tuple[Any, ...]:
        """The measures, in their order; null where there was no value."""
        return tuple([self._value(measure, window) for measure in self._measures])

    def _value(self, measure: Measure, window: Window) -> Any:
        if measure.of is None:
            return window.events
        if measure.kind in ("count", "sum", "avg"):
            count = self._count(measure.of, window)
            if measure.kind == "count":
                return count
            if not count:
                return None
            cell = window.cells[self._places["sum", measure.of]]
            return total(cell) if measure.kind == "sum" else average(cell, count, self._columns[measure.of])
        cell = window.cells[self._places[measure.kind, measure.of]]
        if measure.kind == "distinct":
            return cell.value
        if measure.kind == "quantile":
            assert measure.q is not None
            return cell.at(measure.q)
        return cell

    def _count(self, of: str, window: Window) -> int:
        return window.events if self._certain[of] else window.cells[self._places["count", of]]


def key_of(aggregation: Aggregation) -> Callable[[msgspec.Struct], Any]:
    """Gives the key of an event: the value of its one column, or a tuple of several."""
    return attrgetter(*aggregation.key)


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
