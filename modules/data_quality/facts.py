"""What has to be known of a table before anything is asked: its columns, and whether a check makes sense of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import msgspec

from contracts.dataset import Column
from contracts.event import value_of
from contracts.quality import AnyCheck, CheckedTable, Freshness, Pattern, Range, Value, Values

Family = Literal["text", "int", "float", "decimal", "bool", "date", "timestamp", "naive", "uuid", "other"]
"""What a column's type is to us. `naive` is a timestamp without a time zone, which is read as UTC."""

Typed = str | int | float | bool | Decimal | date | datetime | UUID

DATED: frozenset[Family] = frozenset({"date", "timestamp", "naive"})
_ORDERED: frozenset[Family] = DATED | {"int", "float", "decimal"}
_MATCHED: frozenset[Family] = frozenset({"text", "uuid", "int"})


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """The columns of a table with their families, in its order, its primary key, and the columns of which each has a
    unique index of its own."""

    columns: Mapping[str, Family]
    key: tuple[str, ...] = ()
    indexed: frozenset[str] = frozenset()


def table_fault(table: CheckedTable, facts: Facts) -> str | None:
    """Why nothing of a table can be asked as its declaration asks it."""
    if table.partition_by is None:
        return None
    if table.partition_by not in facts.columns:
        return f"partition_by: {_unknown(table.partition_by, facts)}"
    if facts.columns[table.partition_by] not in DATED:
        return f"partition_by: {table.partition_by} is neither a date nor a timestamp"
    return None


def check_fault(check: AnyCheck, facts: Facts) -> str | None:
    """Why a check can't be made of this table."""
    asked = getattr(check, "columns", None) or tuple(filter(None, [getattr(check, "column", None)]))
    unknown = [_unknown(name, facts) for name in asked if name not in facts.columns]
    if unknown:
        return "; ".join(unknown)
    wanted: frozenset[Family] | None = None
    match check:
        case Range():
            wanted = _ORDERED
        case Freshness():
            wanted = DATED
        case Pattern():
            wanted = _MATCHED
    for name in asked:
        if wanted is not None and facts.columns[name] not in wanted:
            return f"{check.__struct_config__.tag} is for {', '.join(sorted(wanted))}; {name} is {facts.columns[name]}"
    given: tuple[Value | None, ...] = ()
    if isinstance(check, Values):
        given = check.values
    elif isinstance(check, Range):
        given = (check.min, check.max)
    try:
        for value in given:
            if value is not None:
                typed(value, facts.columns[asked[0]])
    except ValueError as error:
        return f"column {asked[0]}: {error}"
    return None


def typed(given: Value, family: Family) -> Typed:
    """A declared value as a column of this family has it; raises `ValueError` where it is none."""
    if isinstance(given, bool) and family != "bool":
        raise ValueError(f"{given!r} is true or false, and the column is {family}")
    if family == "int" and isinstance(given, float):
        return Decimal(str(given))
    type_: Any = "text" if family == "other" else "timestamp" if family == "naive" else family
    value: Typed = value_of(Column(name="value", type=type_), given)
    if family == "naive" and isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None)
    return value


def _unknown(name: str, facts: Facts) -> str:
    shown = ", ".join(list(facts.columns)[:30])
    return f"there is no column {name!r} (there are: {shown}{', …' if len(facts.columns) > 30 else ''})"
