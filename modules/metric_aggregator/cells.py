"""What is kept of the values of a window: one cell for each thing that has to be known of a column.

A cell is a value that is replaced, or a sketch. Sums are exact, of floats as well (as a few floats whose exact sum they
are: Shewchuk, Adaptive Precision Floating-Point Arithmetic, 1997): so neither the order of events nor the division into
batches changes a result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal, Inexact, InvalidOperation, Overflow
from typing import Any, Literal
from uuid import UUID

import msgspec

from contracts.dataset import Column
from modules.metric_aggregator.instant import micros
from modules.metric_aggregator.sketches import Distinct, Quantiles

Kept = Literal["count", "sum", "min", "max", "distinct", "quantile"]

EXACT = Context(prec=120, traps=[Inexact, InvalidOperation, Overflow])
"""What sums are computed in: a result that isn't exact would raise. 38 digits, added up as often as you like, fit."""

_ROUNDED = Context(prec=120, rounding=ROUND_HALF_EVEN)
_SAVED_AS_INT = 1 << 63
_PYTHON: dict[str, Any] = {"int": int, "float": float, "decimal": Decimal, "date": date, "timestamp": datetime}
_HASHED: dict[str, Callable[[Any], int | float | str]] = {
    "text": lambda value: f"={value}",  # an empty text would not be counted
    "decimal": lambda value: str(value.normalize(EXACT) + 0),  # zero has no sign
    "bool": int,
    "date": date.toordinal,
    "timestamp": micros,
    "uuid": UUID.__str__,
}
"""Equal values must look equal to a sketch."""


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """How one is begun, and replaced by one that has seen more `values` (at least one)."""

    empty: Callable[[], Any]
    fold: Callable[[Any, Sequence[Any]], Any]
    join: Callable[[Any, Any], Any]
    """Two cells as one, for sessions that turn out to be one."""
    saved_as: Any
    """The type by which it is restored."""


def cell_of(kind: Kept, column: Column) -> Cell:
    """What is kept of a column."""
    if kind == "count":
        return Cell(empty=int, fold=lambda cell, values: cell + len(values), join=lambda a, b: a + b, saved_as=int)
    if kind == "sum":
        return _sum(column)
    if kind in ("min", "max"):
        return _extreme(min if kind == "min" else max, column)
    if kind == "distinct":
        return _distinct(column)
    return _quantiles(column)


def total(cell: Any) -> int | Decimal | float:
    """What a cell of sums stands for."""
    return (cell[0] if cell else 0.0) if isinstance(cell, tuple) else cell


def average_of(column: Column) -> Callable[[Any, int], Decimal | float]:
    """Divides a cell of sums by how many values there were. Of decimals and whole numbers that is a decimal with six
    more digits than the column has, rounded half to even."""
    if column.type == "float":
        return lambda cell, count: total(cell) / count
    unit = Decimal(1).scaleb(-6 - (column.scale if column.type == "decimal" else 0))
    divide = _ROUNDED.divide
    return lambda cell, count: divide(cell, count).quantize(unit, context=_ROUNDED)


def _sum(column: Column) -> Cell:
    if column.type == "decimal":
        return Cell(
            empty=Decimal, fold=lambda cell, values: sum(values, cell), join=lambda a, b: a + b, saved_as=Decimal
        )
    if column.type == "float":
        return Cell(empty=tuple, fold=_exact, join=_exact, saved_as=tuple[float, ...])
    return Cell(
        empty=int,
        fold=lambda cell, values: _storable(sum(values, cell)),
        join=lambda a, b: _storable(a + b),
        saved_as=int | Decimal,
    )


def _storable(whole: int | Decimal) -> int | Decimal:
    return whole if -_SAVED_AS_INT <= whole < _SAVED_AS_INT else Decimal(whole)


def _exact(parts: Sequence[float], values: Sequence[float]) -> tuple[float, ...]:
    """Floats of which the first is the sum, rounded, and all together are the sum."""
    left, made = [*parts, *values], []
    try:
        while part := math.fsum(left):
            made.append(part)
            left.append(-part)
    except OverflowError:  # beyond what a float can hold: infinite, and it stays so
        return (math.copysign(math.inf, sum(part / 2**64 for part in left)),)
    except ValueError:
        return (next(part for part in left if math.isinf(part)),)
    return tuple(made)


def _extreme(of: Callable[..., Any], column: Column) -> Cell:
    def fold(cell: Any, values: Sequence[Any]) -> Any:
        found = of(values)
        return found if cell is None else of(cell, found)

    def join(one: Any, other: Any) -> Any:
        return one if other is None else fold(one, (other,))

    return Cell(empty=lambda: None, fold=fold, join=join, saved_as=_PYTHON[column.type] | None)


def _distinct(column: Column) -> Cell:
    hashed = _HASHED.get(column.type)

    def fold(cell: Distinct, values: Sequence[Any]) -> Distinct:
        cell.add(values if hashed is None else map(hashed, values))
        return cell

    return Cell(empty=Distinct, fold=fold, join=Distinct.joined, saved_as=Distinct)


def _quantiles(column: Column) -> Cell:
    def fold(cell: Quantiles, values: Sequence[Any]) -> Quantiles:
        cell.add(values if column.type == "float" else map(float, values))
        return cell

    return Cell(empty=Quantiles, fold=fold, join=Quantiles.joined, saved_as=Quantiles)
