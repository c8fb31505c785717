"""Checks as SQL: those of one table together are one scan.

    select count(*) as v0, count(*) filter (where "email" is null) as v1, max("at") as v2 from …

Names are quoted and values are bound; filters and queries are the user's own SQL.

What is there twice, and what refers to nothing, is counted beside the scan, by a statement each that groups or joins: a
count of distinct values within it would sort every row, and take longer than all checks by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta

import msgspec

from contracts import sql
from contracts.quality import (
    DATE,
    AnyCheck,
    CheckedTable,
    CustomSql,
    Freshness,
    Nulls,
    Pattern,
    Range,
    References,
    RowChange,
    RowCount,
    Unique,
    Values,
)
from modules.data_quality.dialect import Bound, Dialect
from modules.data_quality.engine import Query
from modules.data_quality.facts import Facts, typed

SHOWN = 200
"""So many characters are shown of a value of a failing row."""


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """In which columns a check's number stands, of the scan's row or of that of the statement beside it, and how many
    rows it is of, of the scan's."""

    value: str
    of: str


BESIDE = "n"
"""The column of a statement beside a scan."""


class Asking:
    """The questions to one table of a suite, on one date. The names in `where` are those of the table's own columns, so
    it stands in no sub-select that has another table's."""

    def __init__(self, table: CheckedTable, facts: Facts, dialect: Dialect, *, name: str, day: date | None) -> None:
        self._table = table
        self._facts = facts
        self._dialect = dialect
        self._name = sql.table(name)
        self._day = day

    def scan(self, checks: Sequence[AnyCheck]) -> tuple[Query, list[Cell]]:
        """One statement with one row, in which each check has its place."""
        bound = Bound(self._dialect)
        places: dict[str, str] = {}

        def place(expression: str) -> str:
            return places.setdefault(expression, f"v{len(places)}")

        cells = [Cell(value=self._value(check, bound, place), of=place(self._rows(check))) for check in checks]
        terms = ",\n  ".join(f"{expression} as {alias}" for expression, alias in places.items())
        text = f"select\n  {terms}\nfrom {self._name}{self._where(bound)}"
        return Query(sql=text, values=tuple(bound.values)), cells

    def beside(self, check: AnyCheck) -> Query | None:
        """The statement that counts what a scan can't; None for what it can."""
        bound = Bound(self._dialect)
        match check:
            case Unique():
                text = self._repeated(check, bound)
            case References():
                where = self._where(bound, check, _complete(check.columns), self._unreferenced(check))
                text = f"select count(*) as {BESIDE}\nfrom {self._name} as r{where}"
            case _:
                return None
        return Query(sql=text, values=tuple(bound.values))

    def failing(self, check: AnyCheck) -> Query | None:
        """The failing rows by their keys, each value as text; None for checks that aren't about rows."""
        bound = Bound(self._dialect)
        if isinstance(check, Unique):
            shown = [*_texts(check.columns), 'count(*)::text as "(rows)"']
            by = sql.names(check.columns, of="r")
            rest = f"{self._where(bound, check, _complete(check.columns))}\ngroup by {by}\nhaving count(*) > 1"
            order = ["count(*) desc", *self._ordered(check.columns)]
        elif isinstance(check, References):
            shown = _texts(self._shown(check.columns))
            rest = self._where(bound, check, _complete(check.columns), self._unreferenced(check))
            order = self._ordered(self._shown(check.columns))
        elif bad := self._bad(check, bound):
            columns = self._shown((check.column,))  # type: ignore[union-attr]
            shown, rest, order = _texts(columns), self._where(bound, check, bad), self._ordered(columns)
        else:
            return None
        text = f"select {', '.join(shown)}\nfrom {self._name} as r{rest}"
        text += f"\norder by {', '.join(order)}" if order else ""
        return Query(sql=text, values=tuple(bound.values))

    def _ordered(self, columns: Sequence[str]) -> list[str]:
        """So that a sample is the same one each time; not every type has an order."""
        return [f"r.{sql.name(name)}" for name in columns if self._facts.columns.get(name, "other") != "other"]

    def custom(self, check: CustomSql) -> str:
        """The user's query, with the date in it."""
        return self._dated(check.sql.strip().rstrip(";"))

    # Parts of a statement.

    def _value(self, check: AnyCheck, bound: Bound, place: Callable[[str], str]) -> str:
        """Where it stands what the check comes to."""
        match check:
            case Unique() | References():
                return BESIDE
            case RowCount() | RowChange():
                return place(self._rows(check))
            case Freshness():
                return place(
                    f"extract(epoch from max({sql.name(check.column)}){self._filter(check)})::double precision"
                )
        return place(f"count(*){self._filter(check, self._bad(check, bound))}")

    def _repeated(self, check: Unique, bound: Bound) -> str:
        """How many rows are not alone with their values."""
        where = self._where(bound, check, _complete(check.columns))
        groups = f"select count(*) as n\nfrom {self._name}{where}\ngroup by {sql.names(check.columns)}"
        repeated = f"from (\n{groups}\nhaving count(*) > 1\n) as repeated"
        repeated = f"select coalesce(sum(n), 0)::bigint as {BESIDE} {repeated}"
        if len(check.columns) > 1 or check.columns[0] not in self._facts.indexed:
            return repeated
        # An index gives the values in their order, and then to count different ones takes a third of the time that
        # groups take. Without one every row would be sorted.
        column = sql.name(check.columns[0])
        all_differ = f"select count({column}) = count(distinct {column})\nfrom {self._name}{where}"
        return f"select case when (\n{all_differ}\n) then 0 else (\n{repeated}\n) end as {BESIDE}"

    def _rows(self, check: AnyCheck) -> str:
        return f"count(*){self._filter(check)}"

    def _bad(self, check: AnyCheck, bound: Bound) -> str:
        """The condition that a row fails; empty for checks that don't look at rows one by one."""
        match check:
            case Nulls():
                return f"{sql.name(check.column)} is null"
            case Pattern():
                return f"not ({self._dialect.matches(f'{sql.name(check.column)}::text', check.pattern, bound)})"
            case Values():
                family = self._facts.columns[check.column]
                among = ", ".join(bound(typed(given, family), family) for given in check.values)
                column = f"{sql.name(check.column)}::text" if family == "other" else sql.name(check.column)
                return f"{column} not in ({among})"
            case Range():
                family = self._facts.columns[check.column]
                bounds = [("<", check.min), (">", check.max)]
                return " or ".join(
                    f"{sql.name(check.column)} {op} {bound(typed(given, family), family)}"
                    for op, given in bounds
                    if given is not None
                )
        return ""

    def _unreferenced(self, check: References) -> str:
        pairs = zip(check.to_columns or check.columns, check.columns, strict=True)
        same = " and ".join(f"t.{sql.name(theirs)} = r.{sql.name(ours)}" for theirs, ours in pairs)
        other = check.to.removeprefix("lake:")
        return f"not exists (select 1 from {sql.table(other)} as t where {same})"  # noqa: S608

    def _filter(self, check: AnyCheck, *conditions: str) -> str:
        """The check's own filter and more, for an aggregate."""
        said = [*([self._dated(check.filter)] if check.filter else []), *filter(None, conditions)]
        return f" filter (where {_all(said)})" if said else ""

    def _where(self, bound: Bound, check: AnyCheck | None = None, *conditions: str) -> str:
        """The table's filter and partition, then the check's own filter and more."""
        said = [self._dated(text) for text in (self._table.filter, check and check.filter) if text]
        said = [*self._partition(bound), *said, *conditions]
        return f"\nwhere {_all(said)}" if said else ""

    def _partition(self, bound: Bound) -> list[str]:
        if self._table.partition_by is None or self._day is None:
            return []
        column, family = sql.name(self._table.partition_by), self._facts.columns[self._table.partition_by]
        if family == "date":
            return [f"{column} = {bound(self._day, family)}"]
        zone = UTC if family == "timestamp" else None
        ends = [datetime.combine(day, time.min, zone) for day in (self._day, self._day + timedelta(days=1))]
        return [f"{column} >= {bound(ends[0], family)}", f"{column} < {bound(ends[1], family)}"]

    def _dated(self, text: str) -> str:
        return text if self._day is None else text.replace(DATE, f"date '{self._day.isoformat()}'")

    def _shown(self, columns: Sequence[str]) -> list[str]:
        """The key first, then what was checked."""
        return list(dict.fromkeys([*(self._table.key or self._facts.key), *columns]))


def _complete(columns: Sequence[str]) -> str:
    return " and ".join(f"{sql.name(column)} is not null" for column in columns)


def _texts(columns: Sequence[str]) -> list[str]:
    return [f"left({sql.name(column)}::text, {SHOWN}) as {sql.name(column)}" for column in columns]


def _all(conditions: Sequence[str]) -> str:
    # Each on lines of its own: what a user wrote may end in a comment.
    return "\n  and ".join(f"({condition}\n)" if "--" in condition else f"({condition})" for condition in conditions)
