"""A query string as a query: what is asked of a resource, typed, or everything that is wrong with it.

    ?quantity.gte=2&sku=A-001&sku=A-002&sort=-ordered_at&fields=order_id,sku&limit=20&cursor=…

A column's bare name asks for rows that have the value, or one of them where it is given several times. Behind a dot
stands another way to compare.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

import msgspec

from contracts.http import Refused
from contracts.resource import RESERVED, Resource
from modules.api_gateway import cursor as cursors
from modules.api_gateway.source import Column
from modules.api_gateway.values import TEXT, Type, taken

MOST_VALUES = 100
"""Of one query, in all its filters."""
ORDERED = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
COMPARE: Mapping[str, str] = {"eq": "=", "ne": "<>", **ORDERED}
"""What compares with a value, as SQL does it; besides these there are `null` and `prefix`."""


class Sort(msgspec.Struct, frozen=True):
    """A column that rows are sorted by. Nulls come last, and first on the way down."""

    column: Column
    down: bool

    def __str__(self) -> str:
        return f"-{self.column.name}" if self.down else self.column.name


class Filter(msgspec.Struct, frozen=True):
    """A condition on a column; `values` are as the server takes them, more than one only where `op` is `eq`."""

    column: Column
    op: str
    values: tuple[str, ...]


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for. `after` has the place of the last row that was seen: its values in the columns of `sort`,
    whose last ones make a row unique. `limit` is None unless it was asked for."""

    fields: tuple[Column, ...]
    filters: tuple[Filter, ...] = ()
    sort: tuple[Sort, ...] = ()
    limit: int | None = None
    after: tuple[str | None, ...] | None = None

    @property
    def identity(self) -> str:
        """Queries that mean the same have the same, whatever the order of their parameters."""
        filters = sorted((one.column.name, one.op, sorted(one.values)) for one in self.filters)
        fields = [field.name for field in self.fields]
        return msgspec.json.encode([fields, filters, list(map(str, self.sort)), self.limit, self.after]).decode()


def read(resource: Resource, columns: Mapping[str, Column], given: Sequence[tuple[str, str]]) -> Query:
    """Raises `Refused` (400) with everything that is wrong."""
    reading = _Reading(resource, columns)
    fields, filters = reading.fields(given), reading.filters(given)
    sort = reading.sort(given)
    limit, after = reading.limit(given), reading.after(given, sort)
    reading.unknown(given)
    if reading.faults:
        raise Refused(400, "what was asked for is wrong", reading.faults)
    return Query(fields=fields, filters=filters, sort=sort, limit=limit, after=after)


def read_one(
    resource: Resource, columns: Mapping[str, Column], key: Sequence[str], given: Sequence[tuple[str, str]]
) -> Query:
    """The row of this key, by the texts of its values. Raises `Refused` (400)."""
    reading = _Reading(resource, columns)
    fields = reading.fields(given)
    reading.faults += [f"{name[:100]!r}: unknown here; there is fields" for name, _ in given if name != "fields"]
    filters: list[Filter] = []
    if len(key) != len(resource.key):
        form = ",".join(f"{{{name}}}" for name in resource.key)
        reading.faults.append(f"the key has {len(resource.key)} parts, {form}; {len(key)} came (a comma in one is %2C)")
    else:
        for name, text in zip(resource.key, key, strict=True):
            filters += reading.filter(name, columns[name], "eq", [text])
    if reading.faults:
        raise Refused(400, "what was asked for is wrong", reading.faults)
    return Query(fields=fields, filters=tuple(filters), limit=1)


class _Reading:
    """Collects what is wrong on the way."""

    def __init__(self, resource: Resource, columns: Mapping[str, Column]) -> None:
        self._resource = resource
        self._columns = columns
        self.faults: list[str] = []

    def fields(self, given: Sequence[tuple[str, str]]) -> tuple[Column, ...]:
        text = self._single(given, "fields")
        if text is None:
            return tuple(self._columns.values())
        names = list(dict.fromkeys(text.split(",")))
        return tuple(self._columns[name] for name in self._known("fields", names, list(self._columns)))

    def sort(self, given: Sequence[tuple[str, str]]) -> tuple[Sort, ...]:
        """As asked, then by what is left of the key, so that no two rows are equal."""
        text = self._single(given, "sort")
        asked = list(self._resource.order) if text is None else text.split(",")
        names = [name.removeprefix("-") for name in asked]
        known = self._known("sort", names, list(self._resource.sortable))
        if len(set(names)) < len(names):
            self.faults.append(f"sort: {text!r} has a column twice")
        down = {name.removeprefix("-"): name.startswith("-") for name in asked}
        # The rest goes the same way as the last one: an index that serves one direction then serves all.
        last = down[names[-1]] if names else False
        found = [Sort(self._columns[name], down[name]) for name in dict.fromkeys(known)]
        found += [Sort(self._columns[name], last) for name in self._resource.key if name not in names]
        for one in found:
            if one.column.type.take is None:
                self.faults.append(f"sort: {one.column.name} is {one.column.type.name}, which has no order")
        return tuple(found)

    def limit(self, given: Sequence[tuple[str, str]]) -> int | None:
        text = self._single(given, "limit")
        if text is None:
            return None
        most = self._resource.most_page_rows
        if text.isascii() and text.isdecimal() and len(text) < 10 and 1 <= int(text) <= most:
            return int(text)
        self.faults.append(f"limit: {text[:100]!r}; allowed is a whole number from 1 to {most}")
        return None

    def after(self, given: Sequence[tuple[str, str]], sort: Sequence[Sort]) -> tuple[str | None, ...] | None:
        text = self._single(given, "cursor")
        if text is None:
            return None
        try:
            place = cursors.read(text, [str(one) for one in sort])
            found = zip(sort, place, strict=True)
            return tuple(
                None if value is None else taken(one.column.type, value, longest=len(value)) for one, value in found
            )
        except ValueError:
            order = ",".join(map(str, sort))
            self.faults.append(
                f"cursor: it is not one of a list that is sorted by {order}; take `next` of the page before, and keep"
                " sort as it was"
            )
            return None

    def filters(self, given: Sequence[tuple[str, str]]) -> tuple[Filter, ...]:
        asked: dict[tuple[str, str], list[str]] = {}
        for parameter, text in given:
            name, dot, op = parameter.partition(".")
            if name in self._resource.filters:
                asked.setdefault((name, op if dot else "eq"), []).append(text)
        if sum(map(len, asked.values())) > MOST_VALUES:
            self.faults.append(f"filters: there are more than {MOST_VALUES} values")
        found: list[Filter] = []
        for (name, op), texts in asked.items():
            found += self.filter(name, self._columns[name], op, texts)
        return tuple(found)

    def filter(self, name: str, column: Column, op: str, texts: list[str]) -> list[Filter]:
        """One, or none where it is wrong."""
        told = name if op == "eq" else f"{name}.{op}"
        allowed = ops_of(column.type)
        if op not in allowed:
            listed = (
                ", ".join(name if one == "eq" else f"{name}.{one}" for one in allowed) or "nothing: it can be seen only"
            )
            self.faults.append(f"{told[:100]}: unknown; allowed is {listed}")
            return []
        if op != "eq" and len(texts) > 1:
            self.faults.append(f"{told}: it is there {len(texts)} times; only {name} can be")
        if op == "null":
            self.faults += [f"{told}: {text[:100]!r}; allowed is true or false" for text in texts if text not in _BOOLS]
            return [Filter(column, op, (texts[0],))]
        values = []
        for text in texts:
            try:
                values.append(taken(column.type, text))
            except ValueError as error:
                self.faults.append(f"{told}: {text[:100]!r}; {error}")
        return [Filter(column, op, tuple(dict.fromkeys(values)))]

    def unknown(self, given: Sequence[tuple[str, str]]) -> None:
        """Parameters that mean nothing: a filter that is misspelt must not show everything."""
        known = [*RESERVED, *self._resource.filters]
        for parameter in dict.fromkeys(name for name, _ in given):
            name = parameter.partition(".")[0]
            if name not in known or (name in RESERVED and name != parameter):
                self.faults.append(f"{parameter[:100]!r}: unknown; {_hint(name, known)}")

    def _known(self, parameter: str, names: Sequence[str], allowed: list[str]) -> list[str]:
        for name in names:
            if name not in allowed:
                self.faults.append(f"{parameter}: {name[:100]!r} is unknown; {_hint(name, allowed)}")
        return [name for name in names if name in allowed]

    def _single(self, given: Sequence[tuple[str, str]], name: str) -> str | None:
        texts = [text for parameter, text in given if parameter == name]
        if len(texts) > 1:
            self.faults.append(f"{name}: it is there {len(texts)} times")
        return texts[0] if texts else None


_BOOLS = ("true", "false")


def ops_of(type_: Type) -> tuple[str, ...]:
    """The ways in which a column of this type can be compared."""
    if type_.take is None:
        return ()
    ordered = tuple(ORDERED) if type_.ordered else ()
    return ("eq", "ne", *ordered, *(("prefix",) if type_ is TEXT else ()), "null")


def _hint(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name[:100], known, n=1)
    return f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
