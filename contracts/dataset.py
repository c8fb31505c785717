"""What a user declares about a file-backed table: `catalog/datasets/NAME.yaml`, decoded into these.

Columns are declared in this one way wherever they appear (datasets, events); the decoder, the Polars and Arrow
schemas, the table's DDL and the checks are derived from it. What a type cannot say (does the key exist? is the
pattern a regular expression?) `Dataset.faults()` does.
"""

from __future__ import annotations

import codecs
import re
import zoneinfo
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

if TYPE_CHECKING:
    from contracts.event import Event  # which needs this file

ColumnType = Literal["text", "int", "float", "decimal", "bool", "date", "timestamp", "json", "uuid"]
SqlName = Annotated[str, Meta(pattern=r"^[a-z_][a-z0-9_]{0,62}$", description="A lower-case SQL name.")]
TableName = Annotated[
    str,
    Meta(pattern=r"^[a-z_][a-z0-9_]{0,62}(\.[a-z_][a-z0-9_]{0,62})?$", description="`table` or `schema.table`."),
]

ORDERED: frozenset[str] = frozenset({"int", "float", "decimal", "date", "timestamp"})
"""The types that `min` and `max` make sense for."""

PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
"""What stands in braces in a source."""

LAKE = "lake:"
"""How a source begins that is not a place of files but a lake, by its name."""

Fault = tuple[str, str]
"""The path of what is wrong (`columns[2].min`) and what is wrong with it."""


class Column(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One column. `source` is its name in the file (default: `name`).

    `precision` and `scale` are for decimals; `format` is for dates and timestamps (strptime; default ISO 8601) and
    `timezone` is what a timestamp without an offset is read as. `default` replaces a missing or null value; an
    `optional` column may be absent from a file altogether. `choices`, `min`, `max` (both included), `max_length`
    (characters) and `pattern` (a Python regular expression for the whole value) reject what does not fit.
    `rounding` says what becomes of more digits than the type holds; `finite: false` lets NaN and infinities in.
    `personal` masks the value wherever a rejected row is shown.
    """

    name: SqlName
    type: ColumnType = "text"
    source: Annotated[str, Meta(min_length=1)] | None = None
    nullable: bool = True
    optional: bool = False
    default: str | int | float | bool | None = None
    choices: tuple[str | int | float, ...] = ()
    min: str | int | float | None = None
    max: str | int | float | None = None
    max_length: Annotated[int, Meta(ge=1)] | None = None
    pattern: str | None = None
    precision: Annotated[int, Meta(ge=1, le=38)] = 18
    scale: Annotated[int, Meta(ge=0, le=38)] = 6
    rounding: Literal["refuse", "nearest"] = "refuse"
    finite: bool = True
    format: str | None = None
    timezone: str = "UTC"
    true_tokens: Annotated[tuple[str, ...], Meta(min_length=1)] = ("true", "t", "yes", "y", "1")
    false_tokens: Annotated[tuple[str, ...], Meta(min_length=1)] = ("false", "f", "no", "n", "0")
    personal: bool = False
    description: str = ""

    @property
    def source_name(self) -> str:
        return self.source or self.name

    def faults(self) -> list[Fault]:
        """What contradicts itself in this column, by path within it."""
        found: list[Fault] = []
        if self.type == "decimal" and self.scale > self.precision:
            found.append(("scale", f"{self.scale} digits after the point do not fit into precision {self.precision}"))
        if self.type not in ORDERED:
            found += [
                (bound, f"a {self.type} column has no order: {bound} is for {', '.join(sorted(ORDERED))}")
                for bound in ("min", "max")
                if getattr(self, bound) is not None
            ]
        for setting in ("max_length", "pattern"):
            if getattr(self, setting) is not None and self.type != "text":
                found.append((setting, f"is for text columns, this one is {self.type}"))
        if self.choices and self.type in ("json", "bool"):
            found.append(("choices", f"a {self.type} column takes none"))
        found += _form_faults(self)
        if self.pattern is not None:
            try:
                re.compile(self.pattern)
            except re.error as error:
                found.append(("pattern", f"{self.pattern!r} is not a regular expression: {error}"))
        if self.type == "timestamp":
            try:
                zoneinfo.ZoneInfo(self.timezone)
            except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
                found.append(
                    ("timezone", f"{self.timezone!r} is not a time zone; use a name like UTC or Europe/Berlin")
                )
        both = {token.lower() for token in self.true_tokens} & {token.lower() for token in self.false_tokens}
        if self.type == "bool" and both:
            found.append(("true_tokens", f"{', '.join(sorted(both))} would mean both true and false"))
        return found


class CsvFormat(msgspec.Struct, frozen=True, kw_only=True, tag="csv", tag_field="type", forbid_unknown_fields=True):
    """RFC 4180: `quote` is doubled inside a quoted value, which may hold delimiters and line ends.

    Without `header` the columns are taken in the order of their declaration; with it, by name. A value that equals
    one of `null_tokens` is null, quoted or not.
    """

    delimiter: Annotated[str, Meta(min_length=1, max_length=1)] = ","
    quote: Annotated[str, Meta(min_length=1, max_length=1)] = '"'
    header: bool = True
    encoding: str = "utf-8"
    null_tokens: tuple[str, ...] = ("",)
    decimal_mark: Literal[".", ","] = "."


class JsonlFormat(msgspec.Struct, frozen=True, kw_only=True, tag="jsonl", tag_field="type", forbid_unknown_fields=True):
    """One JSON object a line; an absent field is null. Numbers keep every digit."""

    encoding: str = "utf-8"


class ParquetFormat(
    msgspec.Struct, frozen=True, kw_only=True, tag="parquet", tag_field="type", forbid_unknown_fields=True
):
    """Apache Parquet; its own types are cast to the declared ones."""


class Duplicates(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which row of one key wins: the `first` or `last` in order of file and line, or the one with the `highest` or
    `lowest` value in column `by` (nulls lose; equals: the last)."""

    keep: Literal["first", "last", "highest", "lowest"] = "last"
    by: SqlName | None = None


class Publish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rows as events: what a load brings into the table is published on the topic of `event` when the load commits, in
    the order of the event's time. With `changed` a row that it changes there is published too: as another event."""

    event: SqlName
    changed: bool = False

    def faults(self, dataset: Dataset, event: Event | None) -> list[Fault]:
        """What keeps the rows of the dataset from being such events, by path within it."""
        found: list[Fault] = []
        if dataset.mode == "replace":
            found.append(("", "is for mode upsert and append: replace swaps rows, and would publish all of them again"))
        elif not dataset.key:
            found.append(("", "needs the dataset to have a key: it tells which row is new, and which event is which"))
        return found + ([("event", why) for why in _unlike(dataset, event)] if event is not None else [])


class Dataset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Files that become a table.

    `source` is a path or glob on the Files port; `{date}` in it stands for the run's date (`{date:%Y/%m/%d}` for
    another form). `lake:NAME` is the whole files of the lake that the event NAME lands in: of the run's date, or all.
    `compression` is told by the file's ending unless given. `mode`: `upsert` merges by key, `append` adds (each content
    once), `replace` swaps the rows of the run's date, told by `partition_by` (a date column, or a timestamp's UTC date;
    without it the whole table). `extra_columns` says what becomes of columns that are in a file but not declared. A row
    longer than `max_row_bytes` is rejected; of one run at most `quarantine_rows` rejected rows are kept, for
    `quarantine_days`, and all are counted. With `publish` rows are events as well.
    """

    name: SqlName
    table: TableName
    source: Annotated[str, Meta(min_length=1)]
    columns: Annotated[tuple[Column, ...], Meta(min_length=1, max_length=1000)]
    format: CsvFormat | JsonlFormat | ParquetFormat = msgspec.field(default_factory=CsvFormat)
    compression: Literal["auto", "none", "gzip", "zstd"] = "auto"
    key: tuple[SqlName, ...] = ()
    duplicates: Duplicates = msgspec.field(default_factory=Duplicates)
    mode: Literal["upsert", "append", "replace"] = "upsert"
    partition_by: SqlName | None = None
    extra_columns: Literal["refuse", "ignore"] = "refuse"
    allow_empty: bool = False
    max_row_bytes: Annotated[int, Meta(ge=1024, le=64 << 20)] = 1 << 20
    quarantine_days: Annotated[int, Meta(ge=1)] = 30
    quarantine_rows: Annotated[int, Meta(ge=0, le=1_000_000)] = 10_000
    publish: Publish | None = None
    description: str = ""

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    @property
    def dated(self) -> bool:
        """Whether the source has a place for a date."""
        return PLACEHOLDER.search(self.source) is not None

    def faults(self, event: Event | None = None) -> list[Fault]:
        """Everything that contradicts itself or, where it is given, the event that it publishes; by path, empty when it
        can be used."""
        found = column_faults(self.columns)
        names = [column.name for column in self.columns]
        found += [(f"key[{at}]", _unknown(name, names)) for at, name in enumerate(self.key) if name not in names]
        found += _twice("key", "", list(self.key))
        found += [
            (f"key[{at}]", f"{name} is json, which has no equality")
            for at, name in enumerate(self.key)
            if name in names and self.column(name).type == "json"
        ]
        found += self._mode_faults(names)
        found += source_faults(self.source, "source")
        if self.table.startswith("millrace."):
            found.append(("table", "the schema millrace is the runtime's own: take another one"))
        if isinstance(self.format, CsvFormat):
            found += _csv_faults(self.format)
        elif isinstance(self.format, JsonlFormat):
            found += _encoding_faults(self.format.encoding)
        elif self.compression in ("gzip", "zstd"):
            found.append(("compression", "parquet files are compressed inside: leave it out"))
        if self.publish is not None:
            found += [(f"publish.{path}".rstrip("."), why) for path, why in self.publish.faults(self, event)]
        return found

    def _mode_faults(self, names: list[str]) -> list[Fault]:
        found: list[Fault] = []
        if self.mode == "upsert" and not self.key:
            found.append(("key", "mode upsert needs one: name the columns that make a row unique, or use mode append"))
        by = self.duplicates.by
        if self.duplicates.keep in ("highest", "lowest"):
            if by is None:
                found.append(("duplicates.by", f"keep: {self.duplicates.keep} needs the column to compare"))
            elif by in names and self.column(by).type == "json":
                found.append(("duplicates.by", f"{by} is json, which has no order"))
        elif by is not None:
            found.append(("duplicates.by", f"is for keep: highest or lowest, not {self.duplicates.keep}"))
        if by is not None and by not in names:
            found.append(("duplicates.by", _unknown(by, names)))
        if self.partition_by is None:
            return found
        if self.mode != "replace":
            found.append(("partition_by", f"is for mode replace, not {self.mode}"))
        if self.partition_by not in names:
            found.append(("partition_by", _unknown(self.partition_by, names)))
        elif self.column(self.partition_by).type not in ("date", "timestamp"):
            found.append(("partition_by", f"{self.partition_by} must be a date or a timestamp"))
        return found


def column_faults(columns: Sequence[Column]) -> list[Fault]:
    """What contradicts itself in columns, and between them."""
    found = [(f"columns[{at}].{path}", why) for at, column in enumerate(columns) for path, why in column.faults()]
    found += _twice("columns", "name", [column.name for column in columns])
    return found + _twice("columns", "source", [column.source_name for column in columns])


def source_faults(source: str, path: str) -> list[Fault]:
    """What is wrong with a source pattern, before any file is looked for."""
    if source.startswith(LAKE):
        name = source.removeprefix(LAKE)
        bare = re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", name)
        return [] if bare else [(path, f"{source!r}: behind lake: stands the name of an event, and nothing else")]
    found: list[Fault] = []
    if source.startswith("/") or "\\" in source or ".." in source.split("/"):
        found.append((path, f"{source!r} must be relative to the files root, with / and without .."))
    for placeholder in PLACEHOLDER.findall(source):
        name, _, form = placeholder.partition(":")
        if name != "date" or (":" in placeholder and "%" not in form):
            found.append((path, f"{{{placeholder}}} is unknown: use {{date}} or, say, {{date:%Y/%m/%d}}"))
    if re.search(r"[{}]", PLACEHOLDER.sub("", source)):
        found.append((path, f"{source!r} has a brace without its other half"))
    return found


def _unlike(dataset: Dataset, event: Event) -> list[str]:
    """Where a row of the dataset can be no such event, whatever is in it."""
    own = {column.name: column for column in dataset.columns}
    found = []
    for column in event.columns:
        here = own.get(column.name)
        always = not column.nullable and column.default is None
        if here is None:
            if always:
                found.append(f"{event.name} needs {column.name}, which the dataset does not have")
        elif here.type != column.type:
            found.append(f"{column.name} is {here.type} here, and {column.type} in {event.name}")
        elif column.type == "decimal" and not _fits(here, column):
            digits = f"({column.precision},{column.scale})"
            found.append(f"{column.name} has ({here.precision},{here.scale}) digits here, {event.name} takes {digits}")
        elif always and here.nullable and here.default is None and here.name not in dataset.key:
            found.append(f"{column.name} may be null here, and must not be in {event.name}")
    return found


def _fits(column: Column, into: Column) -> bool:
    return column.scale <= into.scale and column.precision - column.scale <= into.precision - into.scale


def _form_faults(column: Column) -> list[Fault]:
    if (form := column.format) is None:
        return []
    if column.type not in ("date", "timestamp"):
        return [("format", f"is for dates and timestamps, this column is {column.type}")]
    try:
        text = datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC).strftime(form)
        day = datetime.strptime(text, form)  # noqa: DTZ007 - only its day matters
    except ValueError as error:
        return [("format", f"{form!r} is not a strptime form: {error}")]
    if (day.year, day.month, day.day) != (2001, 2, 3):
        return [("format", f"{form!r} does not tell a whole day: it needs year, month and day")]
    return []


def _csv_faults(form: CsvFormat) -> list[Fault]:
    found = _encoding_faults(form.encoding)
    for setting in ("delimiter", "quote"):
        value = getattr(form, setting)
        if value in "\r\n\0" or ord(value) > 127:
            found.append((f"format.{setting}", f"{value!r} must be one ASCII character that does not end a line"))
    if form.delimiter == form.quote:
        found.append(("format.quote", f"{form.quote!r} is the delimiter as well"))
    return found


def _encoding_faults(encoding: str) -> list[Fault]:
    try:
        known = codecs.lookup(encoding)
    except LookupError:
        return [("format.encoding", f"{encoding!r} is not an encoding; utf-8, latin-1, cp1252 and utf-16 are common")]
    if not known._is_text_encoding:
        return [("format.encoding", f"{encoding!r} does not turn bytes into text")]
    return []


def _unknown(name: str, names: list[str]) -> str:
    return f"{name!r} is not among the columns ({', '.join(names)})"


def _twice(path: str, field: str, values: list[str]) -> list[Fault]:
    dot = f".{field}" if field else ""
    return [
        (f"{path}[{at}]{dot}", f"{value!r} is there twice") for at, value in enumerate(values) if value in values[:at]
    ]
