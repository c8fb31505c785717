"""What a user declares about events that are looked up and republished: `catalog/enrichments/NAME.yaml`, decoded into
these, and the messages of `event_enricher`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from contracts.dataset import Column, Fault, SqlName, TableName
from contracts.event import TOPIC, Event
from contracts.message import Contract

TopicName = Annotated[str, Meta(pattern=TOPIC)]

KEYS: frozenset[str] = frozenset({"text", "int", "uuid", "date"})
"""The types that something is looked up by, or keyed by: each value of theirs is written in one way only."""


class Added(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A `column` of the table, as field `name` of the new event (default: as the column)."""

    column: SqlName
    name: SqlName | None = None

    @property
    def field(self) -> str:
        return self.name or self.column


class Lookup(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The row of `table` whose `key`, a column that is unique there, is the event's column `by` (default: of the same
    name). What was read is taken for right for `fresh_s`, and that there is no such row for `missing_s` (0: it is asked
    for every time)."""

    table: TableName
    key: SqlName
    add: Annotated[tuple[Added, ...], Meta(min_length=1, max_length=200)]
    by: SqlName | None = None
    fresh_s: Annotated[float, Meta(ge=0)] = 60.0
    missing_s: Annotated[float, Meta(ge=0)] = 5.0

    @property
    def field(self) -> str:
        return self.by or self.key


class Enrichment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Events of one kind, with fields of a table, under another key, or both, are sent `to` another address. `key` is
    the field, of the event or of the table, that they are keyed by there (default: the event's own).

    What becomes of an event whose row is `missing`: with `retry` it is put aside and tried again, `retries` times,
    first after `retry_s`, then after twice as long each time, up to an hour; then, and with `side` at once, it goes to
    the address `side`; with `pass` it goes on with nulls. An event that names no row (null) is not tried again.
    """

    name: SqlName
    event: SqlName
    to: TopicName
    key: SqlName | None = None
    lookup: Lookup | None = None
    missing: Literal["retry", "side", "pass"] = "retry"
    retries: Annotated[int, Meta(ge=1, le=100)] = 5
    retry_s: Annotated[float, Meta(gt=0, le=3600)] = 10.0
    side: TopicName | None = None
    description: str = ""

    def faults(self, event: Event | None = None) -> list[Fault]:
        """Everything that contradicts itself or, where it is given, the event; by path, empty when it can be used."""
        found: list[Fault] = []
        if self.lookup is None and self.key is None:
            found.append(("lookup", "without it the events are as they were: declare it, or a key to send them under"))
        diverts = self.lookup is not None and self.missing != "pass"
        if diverts and self.side is None:
            found.append(("side", f"missing: {self.missing} needs it: it is where events go whose row is not there"))
        if not diverts and self.side is not None:
            found.append(("side", "is for a lookup with missing: retry or side: nothing goes there"))
        if self.side == self.to:
            found.append(("side", "is where the others go: what is missing is another message"))
        if self.lookup is not None:
            fields = [added.field for added in self.lookup.add]
            found += [
                (f"lookup.add[{at}]", f"{name!r} is there twice: give one another name")
                for at, name in enumerate(fields)
                if name in fields[:at]
            ]
        return found if event is None else found + self._event_faults(event)

    def _event_faults(self, event: Event) -> list[Fault]:
        columns = {column.name: column for column in event.columns}
        found = [
            (path, f"{event.topic} is where the events come from")
            for path in ("to", "side")
            if getattr(self, path) == event.topic
        ]
        added = [one.field for one in self.lookup.add] if self.lookup else []
        if self.lookup is not None:
            given = "lookup.by" if self.lookup.by else "lookup.key"
            found += _key_faults(given, self.lookup.field, columns)
            taken = {*columns, *(column.source_name for column in event.columns)}
            found += [
                (f"lookup.add[{at}]", f"{name!r} is a field of {event.name} already: give it another name")
                for at, name in enumerate(added)
                if name in taken
            ]
        if self.key is not None and self.key not in added:
            found += _key_faults("key", self.key, columns)
        return found


def _key_faults(path: str, name: str, columns: dict[str, Column]) -> list[Fault]:
    if name not in columns:
        return [(path, f"{name!r} is not among the columns of the event ({', '.join(columns)})")]
    if columns[name].type not in KEYS:
        return [(path, f"{name} is {columns[name].type}; a key is one of {', '.join(sorted(KEYS))}")]
    return []


class RunEventEnricher(Contract, frozen=True, kw_only=True):
    """Look events up and republish them until it is stopped."""

    enrichment: Annotated[
        tuple[str, ...], Meta(description="Only these enrichments of the catalog; without any, all of them.")
    ] = ()


class MissingReference(Contract, frozen=True, kw_only=True):
    """An event that found no row in its table: there is none after so many `attempts`, or it names none (0)."""

    enrichment: str
    table: str
    attempts: int
    event: Annotated[Any, Meta(description="The event itself.")]


RESULTS: tuple[type[msgspec.Struct], ...] = (MissingReference,)
"""What is published at the addresses that enrichments name, beside the events."""
