"""What PostgreSQL and DuckDB say differently, and values bound to a statement."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from contracts import sql
from modules.data_quality.facts import Family, Typed
from modules.data_quality.patterns import by_length, whole


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """`types` are what a bound value is cast to, by family (empty: it has its type already). `matches` is the condition
    that a text matches a pattern as a whole."""

    types: Mapping[Family, str]
    matches: Callable[[str, str, Bound], str]


_TYPES: dict[Family, str] = {
    "text": "text",
    "int": "bigint",
    "float": "double precision",
    "decimal": "numeric",
    "bool": "boolean",
    "date": "date",
    "timestamp": "timestamptz",
    "naive": "timestamp",
    "uuid": "uuid",
    "other": "text",
}


class Bound:
    """The values of one statement: the same one is bound once."""

    def __init__(self, dialect: Dialect) -> None:
        self.values: list[Typed] = []
        self._dialect = dialect
        self._known: dict[tuple[str, type, Typed], str] = {}

    def __call__(self, value: Typed, family: Family) -> str:
        """What stands for the value in the statement."""
        if family == "int" and isinstance(value, Decimal):
            family = "decimal"
        known = (family, type(value), value)
        if known not in self._known:
            self.values.append(value)
            type_ = self._dialect.types[family]
            self._known[known] = f"${len(self.values)}{'::' + type_ if type_ else ''}"
        return self._known[known]


def readable(statement: str, values: Sequence[Any]) -> str:
    """The statement with its values in their places, for people to copy."""

    def put(found: re.Match[str]) -> str:
        number = int(found[1])
        if not 0 < number <= len(values):
            return found[0]
        value = values[number - 1]
        plain = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
        return str(value) if plain else sql.literal(str(value))

    return re.sub(r"\$([0-9]+)", put, statement)


def _matches_in_postgres(text: str, pattern: str, bound: Bound) -> str:
    if (fixed := by_length(pattern)) is None:
        return f"{text} ~ {bound(whole(pattern), 'text')}"
    length, shorter = fixed
    return f"length({text}) = {length} and {text} ~ {bound(whole(shorter), 'text')}"


def _matches_in_duckdb(text: str, pattern: str, bound: Bound) -> str:
    return f"regexp_full_match({text}, {bound(pattern, 'text')}, 's')"


POSTGRES = Dialect(types=_TYPES, matches=_matches_in_postgres)
# Cast to a decimal without its digits, a value would have three of them.
DUCKDB = Dialect(types=_TYPES | {"decimal": ""}, matches=_matches_in_duckdb)
