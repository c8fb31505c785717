"""What the driver returns, as the plain Python that it is given: its own classes stay here.

Called in the driver's thread, so that the event loop does not have to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any


def make_row_factory() -> Callable[[Sequence[str], Iterable[Sequence[Any]]], list[dict[str, Any]]]:
    """For the driver. Imports it."""
    from cassandra import util

    plain: Mapping[type, Callable[[Any], Any]] = {
        datetime: lambda value: value.replace(tzinfo=UTC),
        util.Date: lambda value: value.date(),
        util.Time: lambda value: value.time(),
        util.SortedSet: lambda values: set(map(one, values)),
        util.OrderedMapSerializedKey: lambda values: {one(key): one(value) for key, value in values.items()},
        list: lambda values: [one(value) for value in values],
        tuple: lambda values: tuple(map(one, values)),
    }

    def one(value: Any) -> Any:
        make = plain.get(type(value))
        return value if make is None else make(value)

    def rows(names: Sequence[str], found: Iterable[Sequence[Any]]) -> list[dict[str, Any]]:
        return [dict(zip(names, map(one, row), strict=True)) for row in found]

    return rows
