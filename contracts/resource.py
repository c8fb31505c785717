"""What a user declares about a table or view that is read over HTTP: `catalog/resources/NAME.yaml`, decoded into these,
and the arguments of `api_gateway`."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.dataset import Fault, SqlName, TableName
from contracts.message import Contract

RESERVED = ("sort", "fields", "limit", "cursor")
"""Parameters of every list, so no filter can have their names."""

SortKey = Annotated[
    str, Meta(pattern=r"^-?[a-z_][a-z0-9_]{0,62}$", description="The name of a column, with - before it to go down.")
]


class Resource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rows of `source`, a table or view, as `GET /api/NAME` and `GET /api/NAME/KEY`.

    `columns` are all that can be seen, asked for and sorted by; their types are those that the database has. The
    columns of `key` make a row unique, none of them is ever null. A list can be filtered by `filters`, and sorted by
    `sort` and the key; `order` is how it is sorted unless asked otherwise. A page has `page_rows`, or as many as are
    asked for, up to `most_page_rows`; CSV and NDJSON without a limit have all that matches, up to `most_rows`. A
    statement that takes longer than `timeout_s` is given up. What was read is kept for `cache_s` (0: not at all), and
    no longer than until the source changes.
    """

    name: SqlName
    source: TableName
    columns: Annotated[tuple[SqlName, ...], Meta(min_length=1, max_length=200)]
    key: Annotated[tuple[SqlName, ...], Meta(min_length=1, max_length=8)]
    filters: tuple[SqlName, ...] = ()
    sort: tuple[SqlName, ...] = ()
    order: tuple[SortKey, ...] = ()
    page_rows: Annotated[int, Meta(ge=1, le=10_000)] = 50
    most_page_rows: Annotated[int, Meta(ge=1, le=10_000)] = 1000
    most_rows: Annotated[int, Meta(ge=1, le=100_000_000)] = 100_000
    timeout_s: Annotated[float, Meta(ge=0.1, le=600)] = 5.0
    cache_s: Annotated[float, Meta(ge=0, le=86400)] = 60.0
    description: str = ""

    @property
    def sortable(self) -> tuple[str, ...]:
        """The columns that rows can be sorted by."""
        return (*self.sort, *(name for name in self.key if name not in self.sort))

    def faults(self) -> list[Fault]:
        """Everything that contradicts itself, by path; empty when it can be used."""
        found: list[Fault] = []
        named = {"columns": self.columns, "key": self.key, "filters": self.filters, "sort": self.sort}
        for field, names in named.items():
            for at, name in enumerate(names):
                if name in names[:at]:
                    found.append((f"{field}[{at}]", f"{name!r} is there twice"))
                elif name not in self.columns:
                    listed = ", ".join(self.columns)
                    found.append((f"{field}[{at}]", f"{name!r} is not among the columns ({listed})"))
        found += [
            (f"filters[{at}]", f"{name} is a parameter of every list: read a view that has another name for it")
            for at, name in enumerate(self.filters)
            if name in RESERVED
        ]
        ordered = [key.removeprefix("-") for key in self.order]
        for at, name in enumerate(ordered):
            if name in ordered[:at]:
                found.append((f"order[{at}]", f"{name!r} is there twice"))
            elif name not in self.sortable:
                found.append((f"order[{at}]", f"{name!r} is neither in sort nor in key ({', '.join(self.sortable)})"))
        if self.page_rows > self.most_page_rows:
            found.append(("page_rows", f"{self.page_rows} is more than most_page_rows, {self.most_page_rows}"))
        if self.source.startswith("millrace."):
            found.append(("source", "the schema millrace is the runtime's own: it has an API of its own"))
        return found


class RunApiGateway(Contract, frozen=True, kw_only=True):
    """Serve resources until it is stopped."""

    resource: Annotated[
        tuple[str, ...], Meta(description="Only these resources of the catalog; without any, all of them.")
    ] = ()
