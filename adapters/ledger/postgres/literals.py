"""Arrays as PostgreSQL's literals, which SQL takes as `$1::text::text[]`.

The driver's own encoding of an array costs a microsecond an element (it asks of each whether it is an array again);
one joined text costs next to nothing, on both sides. https://www.postgresql.org/docs/18/arrays.html#ARRAYS-IO
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def texts(values: Sequence[str | None]) -> str:
    """All None is an empty array: `unnest` fills up what is shorter with nulls."""
    if None in values:
        if values.count(None) == len(values):
            return "{}"
        return "{" + ",".join("NULL" if value is None else f'"{_escaped(value)}"' for value in values) + "}"
    if not values:
        return "{}"
    joined = '","'.join(values)  # type: ignore[arg-type]
    if "\\" in joined or joined.count('"') != 2 * (len(values) - 1):
        joined = '","'.join(map(_escaped, values))  # type: ignore[arg-type]
    return f'{{"{joined}"}}'


def numbers(values: Iterable[float | None]) -> str:
    """Whole ones, and those with a fraction."""
    return "{" + ",".join(["NULL" if value is None else repr(value) for value in values]) + "}"


def flags(values: Sequence[bool]) -> str:
    """All false is an empty array, as above."""
    return "{" + ",".join(["t" if value else "f" for value in values]) + "}" if any(values) else "{}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')
