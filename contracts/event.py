"""What a user declares about the messages of a topic: `catalog/events/NAME.yaml`, decoded into these.

Columns are declared as in datasets. A message is one JSON object; `struct_of` makes the Struct that decodes and checks
it, and that modules share: two routes on one topic agree on what its messages are.
"""

from __future__ import annotations

import re
import typing
import zoneinfo
from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import lru_cache, reduce
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from contracts.dataset import ORDERED, Column, Fault, SqlName, TableName, column_faults

TOPIC = r"^[a-z][a-z0-9_-]*(\.[a-z0-9_-]+)*$"
Rule = Callable[[Any], Any]
_EXACT = Context(prec=80, rounding=ROUND_HALF_UP)
_UNNAMEABLE = re.compile(r'[\x00-\x1f"\\\ud800-\udfff]')
_INT_MIN, _INT_MAX = -(1 << 63), (1 << 63) - 1
_TYPES: dict[str, Any] = {
    "text": str,
    "int": int,
    "float": float,
    "decimal": Decimal,
    "bool": bool,
    "date": date,
    "timestamp": datetime,
    "json": bool | int | float | str | list[Any] | dict[str, Any],
    "uuid": UUID,
}


class EventTime(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When it happened: a timestamp `column`. One that lies more than `max_future_s` ahead of the clock, or more than
    `max_past_s` behind it, is quarantined with its reason, or dropped; both are counted."""

    column: SqlName
    max_future_s: Annotated[float, Meta(ge=0)] = 3600.0
    max_past_s: Annotated[float, Meta(gt=0)] | None = None
    otherwise: Literal["quarantine", "drop"] = "quarantine"


class Lake(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Files under `path`/date=YYYY-MM-DD/ on the Files port, and a manifest that lists the whole ones. Files are
    written, one for each (UTC) date of event time, when there are `rows` or `bytes` (of messages) for them in a
    partition, or `wait_s` after the first of them came."""

    path: Annotated[str, Meta(min_length=1)]
    format: Literal["parquet", "json", "csv"] = "parquet"
    rows: Annotated[int, Meta(ge=1, le=10_000_000)] = 100_000
    bytes: Annotated[int, Meta(ge=1024, le=1 << 30)] = 32 << 20
    wait_s: Annotated[float, Meta(gt=0, le=86_400)] = 300.0

    def faults(self) -> list[Fault]:
        if self.path.startswith("/") or "\\" in self.path or ".." in self.path.split("/") or not self.path.strip("/"):
            return [("path", f"{self.path!r} must be a folder below the files root, with / and without ..")]
        return []


class Land(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where `stream_ingest` puts events: a `table`, a `lake`, or both. With a `key` a row replaces the one of its key;
    without, every event is a row. A batch has at most `rows` and `bytes`, and waits at most `wait_s` for more.

    `announce` says for what `ingest.batch_landed` is published: for whole `files` of the lake (the default: they are
    few, and worth waiting for), for `batches` in the table as well (each then costs a message), or for nothing.
    """

    table: TableName | None = None
    key: tuple[SqlName, ...] = ()
    lake: Lake | None = None
    rows: Annotated[int, Meta(ge=1, le=1_000_000)] = 5000
    bytes: Annotated[int, Meta(ge=1024)] = 32 << 20
    wait_s: Annotated[float, Meta(gt=0, le=3600)] = 1.0
    quarantine_days: Annotated[int, Meta(ge=1)] = 30
    announce: Literal["files", "batches", "nothing"] = "files"

    def faults(self, columns: Sequence[Column]) -> list[Fault]:
        """What contradicts itself, or the columns, by path within it."""
        found: list[Fault] = []
        types = {column.name: column.type for column in columns}
        empty = {column.name for column in columns if column.nullable and column.default is None}
        if self.table is None and self.lake is None:
            found.append(("table", "name a table, a lake, or both"))
        if self.table is not None and self.table.startswith("millrace."):
            found.append(("table", "the schema millrace is the runtime's own: take another one"))
        if self.key and self.table is None:
            found.append(("key", "is that of a table, and there is none"))
        for at, name in enumerate(self.key):
            if name not in types:
                found.append((f"key[{at}]", f"{name!r} is not among the columns ({', '.join(types)})"))
            elif types[name] == "json":
                found.append((f"key[{at}]", f"{name} is json, which has no equality"))
            elif name in empty:
                found.append((f"key[{at}]", f"{name} must have nullable: false, or a default: null equals nothing"))
        if self.lake is not None:
            found += [(f"lake.{path}", why) for path, why in self.lake.faults()]
        return found


class Event(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Messages of one kind on one topic. `key` is the column whose value producers give as the message's key: messages
    of one key are in one partition, in order. `extra_fields` says what becomes of fields that are not declared.
    """

    name: SqlName
    topic: Annotated[str, Meta(pattern=TOPIC)]
    columns: Annotated[tuple[Column, ...], Meta(min_length=1, max_length=1000)]
    key: SqlName | None = None
    time: EventTime | None = None
    partitions: Annotated[int, Meta(ge=1, le=10_000)] = 8
    retention_days: Annotated[float, Meta(gt=0)] = 7
    dedupe_s: Annotated[float, Meta(ge=0)] = 0.0
    extra_fields: Literal["ignore", "refuse"] = "ignore"
    land: Land | None = None
    description: str = ""

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    def faults(self) -> list[Fault]:
        """Everything in the declaration that contradicts itself, by path; empty when it can be used."""
        names = [column.name for column in self.columns]
        found = column_faults(self.columns)
        for path, name in [("key", self.key), ("time.column", self.time.column if self.time else None)]:
            if name is not None and name not in names:
                found.append((path, f"{name!r} is not among the columns ({', '.join(names)})"))
        if self.time and self.time.column in names:
            column = self.column(self.time.column)
            if column.type != "timestamp" or column.nullable:
                found.append(("time.column", f"{column.name} must be a timestamp with nullable: false"))
        for at, column in enumerate(self.columns):
            if column.format is not None:
                found.append((f"columns[{at}].format", "messages are JSON: dates and timestamps are ISO 8601"))
            if column.name.startswith("__"):
                found.append((f"columns[{at}].name", "names that begin with __ are Python's own"))
            if _UNNAMEABLE.search(column.source_name):
                why = "a field's name has no quotation marks, backslashes or control characters"
                found.append((f"columns[{at}].source", why))
            if not column.faults():
                found += [(f"columns[{at}].{path}", why) for path, why in _value_faults(column)]
        if self.land is not None:
            found += [(f"land.{path}", why) for path, why in self.land.faults(self.columns)]
            if self.land.lake is not None and self.time is None:
                found.append(("land.lake", "its files are put by date: name the column that has it, as time.column"))
        return found


@lru_cache(maxsize=256)
def struct_of(event: Event) -> type[msgspec.Struct]:
    """The Struct whose decoder takes exactly what the declaration allows: the same one for equal declarations. A
    timestamp without an offset becomes one of its column's time zone."""
    rules = [
        (column.name, rule or _kept, None if column.default is None else value_of(column, column.default))
        for column in event.columns
        if (rule := _rule_of(column)) is not None or column.default is not None
    ]
    made: type[msgspec.Struct] = msgspec.defstruct(
        "".join(part.capitalize() for part in event.name.split("_")),
        [_field_of(column) for column in event.columns],
        namespace={"__post_init__": _post_init(rules)} if rules else {},
        kw_only=True,
        frozen=True,
        gc=False,
        rename={column.name: column.source_name for column in event.columns},
        forbid_unknown_fields=event.extra_fields == "refuse",
    )
    made.__doc__ = event.description or f"An event {event.name}, as catalog/events/{event.name}.yaml declares it."
    return made


def _field_of(column: Column) -> Any:
    type_ = _type_of(column)
    if column.nullable or column.default is not None:
        type_ |= None
    if column.personal:
        type_ = Annotated[type_, Meta(extra={"personal": True})]
    if column.default is not None:
        # One of JSON is left to the check: a value that can be changed is no default of a Struct.
        return column.name, type_, None if column.type == "json" else value_of(column, column.default)
    return (column.name, type_, None) if column.nullable else (column.name, type_)


def _type_of(column: Column) -> Any:
    """With everything that msgspec checks by itself: that costs next to nothing."""
    limits: dict[str, Any] = {}
    if column.type in ("int", "float"):
        limits = {"ge": _bound(column, column.min), "le": _bound(column, column.max)}
    if column.type == "text":
        limits = {"max_length": column.max_length, "pattern": column.pattern and _whole(column.pattern)}
    limits = {name: limit for name, limit in limits.items() if limit is not None}
    if _listed(column) and not limits:
        return Literal[tuple(value_of(column, choice) for choice in column.choices)]
    if column.type == "int":
        limits = {"ge": _INT_MIN, "le": _INT_MAX} | limits
    return Annotated[_TYPES[column.type], Meta(**limits)] if limits else _TYPES[column.type]


def _listed(column: Column) -> bool:
    """Whether msgspec can check the choices: it shows a value that is none of them, so a personal one is for us."""
    return bool(column.choices) and column.type in ("text", "int") and not column.personal


def _whole(pattern: str) -> str:
    """For a search that finds the whole value or nothing: `$` alone would let one line end pass."""
    return f"^(?:{pattern})(?!\\n)$"


def _rule_of(column: Column) -> Rule | None:
    """What is left to check: gives the value to keep, and raises `ValueError` for one that is refused. What it says
    does not show the value, which may be personal."""
    rules: list[Rule] = []
    if column.type == "decimal":
        rules.append(_digits(column.precision, column.scale, rounds=column.rounding == "nearest"))
    if column.type == "timestamp":
        zone = zoneinfo.ZoneInfo(column.timezone)
        rules.append(lambda at: at if at.tzinfo is not None else at.replace(tzinfo=zone))
    if column.type in ORDERED - {"int", "float"} and (column.min is not None or column.max is not None):
        rules.append(_bounds(column))
    if column.choices and typing.get_origin(_type_of(column)) is not Literal:
        rules.append(_choices(column))
    if not rules:
        return None
    if len(rules) == 1:
        return rules[0]
    return lambda value: reduce(lambda kept, rule: rule(kept), rules, value)


def _kept(value: Any) -> Any:
    return value


def _post_init(rules: Sequence[tuple[str, Rule, Any]]) -> Callable[[msgspec.Struct], None]:
    def check(self: msgspec.Struct) -> None:
        for name, rule, default in rules:
            value = getattr(self, name)
            try:
                kept = default if value is None else rule(value)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
            if kept is not value:
                msgspec.structs.force_setattr(self, name, kept)

    return check


def _digits(precision: int, scale: int, *, rounds: bool) -> Rule:
    unit = Decimal(1).scaleb(-scale)

    def check(value: Decimal) -> Decimal:
        if value.same_quantum(unit) and value.adjusted() < precision - scale:
            return value  # as nearly all are written, with as many digits as there can be
        exponent = value.as_tuple().exponent
        if not isinstance(exponent, int):
            raise ValueError("is not a number")
        # Before anything is computed: what is too large for any context is never given to one.
        if value and value.adjusted() >= precision - scale:
            raise ValueError(f"has more than {precision - scale} digits before the point")
        if -exponent <= scale:
            return value
        kept = value.quantize(unit, context=_EXACT)
        if kept != value and not rounds:
            raise ValueError(f"has more than {scale} digits after the point")
        if kept and kept.adjusted() >= precision - scale:
            raise ValueError(f"rounds to more than {precision - scale} digits before the point")
        return kept

    return check


def _bounds(column: Column) -> Rule:
    low, high = _bound(column, column.min), _bound(column, column.max)

    def check(value: Any) -> Any:
        if low is not None and value < low:
            raise ValueError(f"is below min, {column.min}")
        if high is not None and value > high:
            raise ValueError(f"is above max, {column.max}")
        return value

    return check


def _choices(column: Column) -> Rule:
    allowed = {value_of(column, choice) for choice in column.choices}

    def check(value: Any) -> Any:
        if value not in allowed:
            raise ValueError(f"is not one of {', '.join(map(str, column.choices))}")
        return value

    return check


def _bound(column: Column, given: str | float | None) -> Any:
    return None if given is None else value_of(column, given)


def value_of(column: Column, given: str | float) -> Any:
    """A default, a bound or a choice as its column's type has it; raises `ValueError` where it is none."""
    try:
        if column.type == "text":
            return str(given)
        if column.type == "json":
            return msgspec.json.decode(given) if isinstance(given, str) else given
        if column.type == "timestamp":
            at = datetime.fromisoformat(str(given))
            return at if at.tzinfo is not None else at.replace(tzinfo=zoneinfo.ZoneInfo(column.timezone))
        plain = str(given) if column.type in ("decimal", "date", "uuid") else given
        return msgspec.convert(plain, _TYPES[column.type], strict=False)
    except msgspec.MsgspecError:
        raise ValueError(f"{given!r} is no {column.type}") from None


def _value_faults(column: Column) -> list[Fault]:
    """What is wrong with the default, the bounds and the choices of a column that is sound otherwise."""
    found: list[Fault] = []
    values: dict[str, Any] = {}
    given = {"default": column.default, "min": column.min, "max": column.max}
    given |= {f"choices[{at}]": choice for at, choice in enumerate(column.choices)}
    for path, value in given.items():
        try:
            values[path] = None if value is None else value_of(column, value)
        except ValueError:
            found.append((path, f"{value!r} is not a value of a {column.type} column"))
    if column.pattern is not None:
        try:
            re.compile(_whole(column.pattern))
        except re.error:
            found.append(("pattern", f"{column.pattern!r} has flags for the whole of it: write (?i:…) for (?i)…"))
    if found:
        return found
    if column.min is not None and column.max is not None and values["min"] > values["max"]:
        return [("min", f"{column.min!r} is above max, {column.max!r}")]
    if column.default is not None:
        bare = Event(name="bare", topic="bare", columns=(msgspec.structs.replace(column, default=None),))
        try:
            msgspec.convert({column.source_name: values["default"]}, struct_of(bare))
        except msgspec.ValidationError as error:
            why = str(error).partition(" - at ")[0].removeprefix(f"{column.name}: ")
            found.append(("default", f"{column.default!r} is what the column refuses: {why}"))
    return found
