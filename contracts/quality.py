"""What a user declares about the quality of tables and lakes: `catalog/quality/NAME.yaml`, decoded into these.

A suite looks at tables; each of its checks comes to one number, and `warn` and `fail` are conditions on that number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from contracts.dataset import LAKE, Fault, SqlName
from contracts.threshold import Limit, Threshold, threshold

DATE = "{date}"
"""What stands for the run's date in a filter or a query."""

ANY_FAILING = "when > 0"
"""The `fail` of a check of rows that has neither."""

_ODD_ESCAPES = frozenset("123456789AbBZzGmMyYuUN")
"""References back, anchors, and what means one thing here and another there."""

_BARE = r"[^\s.\"{}]+"
Source = Annotated[
    str,
    Meta(
        pattern=rf"^(lake:[a-z_][a-z0-9_]*|{_BARE}(\.{_BARE})?)$",
        description="A table, `table` or `schema.table`, or a lake, `lake:NAME`.",
    ),
]
ColumnName = Annotated[str, Meta(min_length=1, max_length=63)]
Columns = Annotated[tuple[ColumnName, ...], Meta(min_length=1, max_length=32)]
Sql = Annotated[str, Meta(min_length=1, max_length=20_000)]
Value = str | int | float | bool


class Check(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="check"):
    """What every check has: a `name`, under which its history is kept (told by what it checks unless given), a `filter`
    (an SQL condition: only these rows, of those that the table's own filter leaves), and what its number must not be.
    `fail` outranks `warn`."""

    name: SqlName | None = None
    filter: Sql | None = None
    warn: Limit | None = None
    fail: Limit | None = None
    description: str = ""


class RowCount(Check, frozen=True, kw_only=True, tag="row_count"):
    """How many rows there are."""


class RowChange(Check, frozen=True, kw_only=True, tag="row_change"):
    """How many rows more (or, below 0, fewer) there are than at the run before, also in percent of those. The run
    before is the last one of the same suite; with a date, that of the latest date before. The first run passes."""


class Nulls(Check, frozen=True, kw_only=True, tag="nulls"):
    """How many rows have a null in `column`."""

    column: ColumnName


class Unique(Check, frozen=True, kw_only=True, tag="unique"):
    """How many rows have the values of `columns` that another row has, too. A null equals nothing."""

    columns: Columns


class References(Check, frozen=True, kw_only=True, tag="references"):
    """How many rows name, in `columns`, a row that isn't there: `to` is the other table (of a lake, another lake),
    `to_columns` are its columns, in the same order (default: of the same names). A row with a null names none."""

    columns: Columns
    to: Source
    to_columns: Columns | None = None


class Pattern(Check, frozen=True, kw_only=True, tag="pattern"):
    """How many rows have a text in `column` that the regular expression `pattern` doesn't match as a whole. A null
    passes. What Python, PostgreSQL and DuckDB all know is allowed, and a dot takes any character."""

    column: ColumnName
    pattern: Annotated[str, Meta(min_length=1, max_length=1000)]


class Values(Check, frozen=True, kw_only=True, tag="values"):
    """How many rows have something else than one of `values` in `column`. A null passes."""

    column: ColumnName
    values: Annotated[tuple[Value, ...], Meta(min_length=1, max_length=1000)]


class Range(Check, frozen=True, kw_only=True, tag="range"):
    """How many rows have a value below `min` or above `max` in `column`. A null passes."""

    column: ColumnName
    min: str | int | float | None = None
    max: str | int | float | None = None


class Freshness(Check, frozen=True, kw_only=True, tag="freshness"):
    """How long the latest date or timestamp in `column` lies back, seen from the start of the run, or from the end of
    its date when that is over. Without any value it fails."""

    column: ColumnName


class CustomSql(Check, frozen=True, kw_only=True, tag="sql"):
    """A query of one's own: how many rows it returns (counted up to `max_rows`), each of which is a failing one, or,
    with `returns: value`, the number in its only row and column. The table's filter and partition are not applied; in a
    lake's query the lake is a table by its name."""

    sql: Sql
    returns: Literal["rows", "value"] = "rows"
    max_rows: Annotated[int, Meta(ge=1, le=10_000_000)] = 100_000


AnyCheck = RowCount | RowChange | Nulls | Unique | References | Pattern | Values | Range | Freshness | CustomSql
OF_ROWS = (Nulls, Unique, References, Pattern, Values, Range)
"""The checks whose number is how many rows fail them: also in percent of the rows that were looked at."""


class CheckedTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table or a lake, and what is checked of it. `filter` is an SQL condition for all its checks. With
    `partition_by`, a date or timestamp, only the rows of the run's (UTC) date are looked at; of a lake, the files of
    that date are. `key` are the columns by which failing rows are shown (default: the primary key, or the key of the
    dataset or event that the table belongs to), `personal` those that are never shown, beside those that datasets and
    events mark."""

    source: Source
    checks: Annotated[tuple[AnyCheck, ...], Meta(min_length=1, max_length=500)]
    filter: Sql | None = None
    partition_by: ColumnName | None = None
    key: tuple[ColumnName, ...] = ()
    personal: tuple[ColumnName, ...] = ()

    @property
    def lake(self) -> str | None:
        """The lake's name; None for a table."""
        return self.source.removeprefix(LAKE) if self.source.startswith(LAKE) else None

    @property
    def needs_date(self) -> bool:
        """Whether something of it can't be asked without a date."""
        asked = [self.filter, *(check.filter for check in self.checks)]
        asked += [check.sql for check in self.checks if isinstance(check, CustomSql)]
        return self.partition_by is not None or any(text is not None and DATE in text for text in asked)


class Suite(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Checks that are run together. Everything is asked in transactions that can't write, as the database `role` where
    one is given, and each question is given up after `timeout_s`. Of a check that warns or fails, at most `samples` of
    the failing rows are kept. Results are forgotten after `keep_days`."""

    name: SqlName
    tables: Annotated[tuple[CheckedTable, ...], Meta(min_length=1, max_length=100)]
    role: Annotated[str, Meta(min_length=1, max_length=63)] | None = None
    timeout_s: Annotated[float, Meta(gt=0, le=3000)] = 600.0
    samples: Annotated[int, Meta(ge=0, le=1000)] = 10
    keep_days: Annotated[int, Meta(ge=1)] = 365
    description: str = ""

    @property
    def needs_date(self) -> bool:
        return any(table.needs_date for table in self.tables)

    def faults(self) -> list[Fault]:
        """Everything in the declaration that contradicts itself, by path; empty when it can be used."""
        found: list[Fault] = []
        seen: set[tuple[str, str]] = set()
        for path, table, check in _walk(self.tables):
            found += [(f"{path}.{inner}", why) for inner, why in check_faults(check, lake=table.lake is not None)]
            identity = (table.source, name_of(check))
            if identity in seen:
                why = f"{identity[1]!r} is another check of {table.source} already: its history goes by it"
                found.append((f"{path}.name", f"{why}, so give this one a name of its own"))
            seen.add(identity)
        return found


def name_of(check: AnyCheck) -> str:
    """The check's name, given or told by what it checks."""
    if check.name is not None:
        return check.name
    columns = getattr(check, "columns", None) or (getattr(check, "column", None),)
    words = [str(check.__struct_config__.tag), *(column for column in columns if column)]
    return re.sub(r"[^a-z0-9_]+", "_", "_".join(words).lower())[:63]


def kind_of(check: AnyCheck) -> str:
    """What stands as `check:` in the declaration."""
    return str(check.__struct_config__.tag)


def limits_of(check: AnyCheck) -> tuple[str | None, str | None]:
    """The conditions to warn and to fail, the default included."""
    counts_rows = isinstance(check, OF_ROWS) or (isinstance(check, CustomSql) and check.returns == "rows")
    if check.warn is None and check.fail is None and counts_rows:
        return None, ANY_FAILING
    return check.warn, check.fail


def check_faults(check: AnyCheck, *, lake: bool) -> list[Fault]:
    """What contradicts itself in a check, by path within it."""
    found = _limit_faults(check)
    if limits_of(check) == (None, None):
        found.append(("fail", f"{kind_of(check)} needs a condition, warn or fail or both: what is too much?"))
    match check:
        case Range():
            found += _range_faults(check)
        case References():
            found += _references_faults(check, lake=lake)
        case Pattern():
            found += _pattern_faults(check.pattern)
        case Unique():
            found += [
                (f"columns[{at}]", f"{name!r} is there twice")
                for at, name in enumerate(check.columns)
                if name in check.columns[:at]
            ]
    return found


def _walk(tables: Sequence[CheckedTable]) -> Iterator[tuple[str, CheckedTable, AnyCheck]]:
    for at, table in enumerate(tables):
        for place, check in enumerate(table.checks):
            yield f"tables[{at}].checks[{place}]", table, check


def _limit_faults(check: AnyCheck) -> list[Fault]:
    found: list[Fault] = []
    for path in ("warn", "fail"):
        limit: str | None = getattr(check, path)
        if limit is None:
            continue
        try:
            said = threshold(limit)
        except ValueError as error:
            found.append((path, str(error)))
            continue
        if why := _unfit(check, said):
            found.append((path, f"{limit!r}: {why}"))
    return found


def _unfit(check: AnyCheck, said: Threshold) -> str | None:
    if isinstance(check, Freshness):
        return None if said.unit == "s" else "a condition on an age has a unit: s, m, h or d, as in `when > 6h`"
    if said.unit == "s":
        return f"a unit of time is for freshness; {kind_of(check)} comes to a plain number"
    if said.unit == "%" and not isinstance(check, (*OF_ROWS, RowChange)):
        return f"{kind_of(check)} is a share of nothing: give a plain number"
    return None


def _range_faults(check: Range) -> list[Fault]:
    if check.min is None and check.max is None:
        return [("min", "a range has a min, a max, or both")]
    bounds = (check.min, check.max)
    if all(isinstance(bound, int | float) for bound in bounds) and check.min > check.max:  # type: ignore[operator]
        return [("min", f"{check.min} is above max, {check.max}")]
    return []


def _references_faults(check: References, *, lake: bool) -> list[Fault]:
    found: list[Fault] = []
    if check.to_columns is not None and len(check.to_columns) != len(check.columns):
        why = f"has {len(check.to_columns)} columns, and columns has {len(check.columns)}: they go in pairs"
        found.append(("to_columns", why))
    if check.to.startswith(LAKE) != lake:
        why = "a lake refers to lakes (lake:NAME)" if lake else "a table refers to tables"
        found.append(("to", f"{check.to!r} is in another store: {why}"))
    return found


def _pattern_faults(pattern: str) -> list[Fault]:
    """What not every engine knows, or what each of them takes for something else."""
    try:
        re.compile(pattern)
    except re.error as error:
        return [("pattern", f"{pattern!r} is not a regular expression: {error}")]
    plain = re.sub(r"\\.", "x", pattern)
    plain = re.sub(r"\[\^?\]?[^\]]*\]", "x", plain)
    if re.search(r"\(\?(?!:)", plain):
        return [("pattern", f"{pattern!r}: of the groups with (? only (?:…) is known to all engines")]
    if re.search(r"[*+?}]\+", plain):
        return [("pattern", f"{pattern!r}: possessive quantifiers are not known to all engines")]
    if "{," in plain:
        return [("pattern", f"{pattern!r}: write {{0,N}} for {{,N}}")]
    odd = sorted({escape for escape in re.findall(r"\\(.)", pattern) if escape in _ODD_ESCAPES})
    if odd:
        shown = ", ".join(f"\\{letter}" for letter in odd)
        return [("pattern", f"{pattern!r}: {shown} is not known to all engines; the value is matched as a whole")]
    return []
