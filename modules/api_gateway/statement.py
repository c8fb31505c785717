"""A query as one SQL statement with parameters. No value and no name of a request is ever part of its text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from contracts import sql
from contracts.resource import Resource
from modules.api_gateway.query import COMPARE, Filter, Query, Sort
from modules.api_gateway.source import Column
from modules.api_gateway.values import JSON

Form = Literal["json", "text"]
"""Rows come as a JSON object each, or as the texts of their values."""


class Statement(msgspec.Struct, frozen=True):
    """`select` is what is shown, then the values by which rows are sorted, as texts. `from_where` needs no limit."""

    select: str
    from_where: str
    order: str
    args: tuple[str | list[str], ...]

    def limited(self, rows: int) -> tuple[str, tuple[object, ...]]:
        """The statement and its arguments, for so many rows at most."""
        return f"{self.whole} limit ${len(self.args) + 1}::bigint", (*self.args, rows)

    @property
    def whole(self) -> str:
        return f"{self.select} {self.from_where}{self.order}"

    def more_than(self, rows: int) -> tuple[str, tuple[object, ...]]:
        """Whether more rows match, as a statement that stops counting there."""
        at = len(self.args) + 1
        asked = f"select count(*) > ${at}::bigint from (select 1 {self.from_where} limit ${at}::bigint + 1) counted"  # noqa: S608 - quoted
        return asked, (*self.args, rows)


def compiled(resource: Resource, query: Query, form: Form) -> Statement:
    """Of a query that was read for this resource."""
    args: list[str | list[str]] = []
    conditions = [_condition(one, args) for one in query.filters]
    if query.after is not None:
        conditions.append(_after(query.sort, query.after, args))
    where = f" where {' and '.join(conditions)}" if conditions else ""
    order = ", ".join(f"{_named(one.column)}{' desc' if one.down else ''}" for one in query.sort)
    shown = [_object(query.fields)] if form == "json" else list(map(_as_text, query.fields))
    values = [f"{value} as v{at}" for at, value in enumerate(shown)]
    values += [f"{_named(one.column)}::text as k{at}" for at, one in enumerate(query.sort)]
    return Statement(
        f"select {', '.join(values)}",
        f"from {sql.table(resource.source)} t{where}",
        f" order by {order}" if order else "",
        tuple(args),
    )


def _named(column: Column) -> str:
    return f"t.{sql.name(column.name)}"


def _object(fields: Iterable[Column]) -> str:
    # As jsonb a value is on one line, which NDJSON needs.
    shown = (f"{_named(one)}::jsonb as {sql.name(one.name)}" if one.type is JSON else _named(one) for one in fields)
    return f"(select row_to_json(f) from (select {', '.join(shown)}) f)::text"  # noqa: S608 - quoted


def _as_text(column: Column) -> str:
    # Times as JSON has them, so that a value reads the same in every form.
    if "time" in column.type.name:
        return f"to_json({_named(column)}) #>> '{{}}'"
    return f"{_named(column)}::text"


def _condition(one: Filter, args: list[str | list[str]]) -> str:
    name, type_ = _named(one.column), one.column.type.sql
    if one.op == "null":
        return f"{name} is null" if one.values == ("true",) else f"{name} is not null"
    if len(one.values) > 1:
        args.append(list(one.values))
        return f"{name} = any(${len(args)}::text[]::{type_}[])"
    args.append(one.values[0])
    if one.op == "prefix":
        return f"starts_with({name}, ${len(args)}::text)"
    return f"{name} {COMPARE[one.op]} ${len(args)}::text::{type_}"


def _after(sort: Sequence[Sort], place: Sequence[str | None], args: list[str | list[str]]) -> str:
    """Whether a row comes behind that place."""
    values = []
    for one, value in zip(sort, place, strict=True):
        if value is not None:
            args.append(value)
        values.append(None if value is None else f"${len(args)}::text::{one.column.type.sql}")
    if len({one.down for one in sort}) == 1 and not any(one.column.nullable for one in sort) and None not in values:
        # The form for which an index is walked from that place on, however deep it lies.
        names = ", ".join(_named(one.column) for one in sort)
        return f"({names}) {'<' if sort[0].down else '>'} ({', '.join(map(str, values))})"
    behind = []
    for at, (one, value) in enumerate(zip(sort, values, strict=True)):
        if (past := _past(one, value, "")) is not None:
            same = [_same(before, other) for before, other in zip(sort[:at], values[:at], strict=True)]
            behind.append(" and ".join([*same, past]))
    # Said once more of the first column, as nothing of an `or` can be looked up.
    bound = _past(sort[0], values[0], "=") if values[0] is not None else None
    either = f"({' or '.join(f'({one})' for one in behind)})" if behind else "false"
    return f"{bound} and {either}" if bound else either


def _past(one: Sort, value: str | None, equal: Literal["", "="]) -> str | None:
    """The condition that a value comes behind this one; None when none does. Nulls are the greatest."""
    name = _named(one.column)
    if value is None:
        return f"{name} is not null" if one.down else None
    if one.down:
        return f"{name} <{equal} {value}"
    return f"({name} >{equal} {value} or {name} is null)" if one.column.nullable else f"{name} >{equal} {value}"


def _same(one: Sort, value: str | None) -> str:
    return f"{_named(one.column)} is null" if value is None else f"{_named(one.column)} = {value}"
