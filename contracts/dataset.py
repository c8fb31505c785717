"""What a user declares about a file-backed table: `catalog/datasets/NAME.yaml`, decoded into these.

Columns are declared in this one way wherever they appear (datasets, events); the decoder, the Polars and Arrow
schemas, the table's DDL and the checks are derived from it.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

ColumnType = Literal["text", "int", "float", "decimal", "bool", "date", "timestamp", "json", "uuid"]
SqlName = Annotated[str, Meta(pattern=r"^[a-z_][a-z0-9_]{0,62}$", description="A lower-case SQL name.")]
TableName = Annotated[str, Meta(pattern=r"^[a-z_][a-z0-9_]{0,62}(\.[a-z_][a-z0-9_]{0,62})?$")]


class Column(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One column. `source` is its name in the file (default: `name`).

    `precision` and `scale` are for decimals; `format` is for dates and timestamps (strptime; default ISO 8601) and
    `timezone` is what a timestamp without an offset is read as. `default` replaces a missing or null value.
    `personal` masks the value wherever a rejected row is shown.
    """

    name: SqlName
    type: ColumnType = "text"
    source: str | None = None
    nullable: bool = True
    default: str | int | float | bool | None = None
    choices: tuple[str | int | float, ...] = ()
    min: str | int | float | None = None
    max: str | int | float | None = None
    max_length: Annotated[int, Meta(ge=1)] | None = None
    pattern: str | None = None
    precision: Annotated[int, Meta(ge=1, le=38)] = 18
    scale: Annotated[int, Meta(ge=0, le=38)] = 6
    format: str | None = None
    timezone: str = "UTC"
    personal: bool = False
    description: str = ""

    @property
    def source_name(self) -> str:
        return self.source or self.name


class CsvFormat(msgspec.Struct, frozen=True, kw_only=True, tag="csv", tag_field="type", forbid_unknown_fields=True):
    """Without `header` the columns are taken in the order of their declaration."""

    delimiter: Annotated[str, Meta(min_length=1, max_length=1)] = ","
    quote: Annotated[str, Meta(min_length=1, max_length=1)] = '"'
    header: bool = True
    encoding: str = "utf-8"
    null_tokens: tuple[str, ...] = ("",)
    decimal_mark: Literal[".", ","] = "."


class JsonlFormat(msgspec.Struct, frozen=True, kw_only=True, tag="jsonl", tag_field="type", forbid_unknown_fields=True):
    """One JSON object a line."""

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


class Dataset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Files that become a table.

    `source` is a path or glob on the Files port; `{date}` in it stands for the run's date (`{date:%Y/%m/%d}` for
    another form). `compression` is told by the file's ending unless given. `mode`: `upsert` merges by key, `append`
    adds (each file once), `replace` swaps the rows of the run's date, told by `partition_by` (a date column, or a
    timestamp's UTC date; without it the whole table).
    """

    name: SqlName
    table: TableName
    source: str
    columns: Annotated[tuple[Column, ...], Meta(min_length=1)]
    format: CsvFormat | JsonlFormat | ParquetFormat = msgspec.field(default_factory=CsvFormat)
    compression: Literal["auto", "none", "gzip", "zstd"] = "auto"
    key: tuple[SqlName, ...] = ()
    duplicates: Duplicates = msgspec.field(default_factory=Duplicates)
    mode: Literal["upsert", "append", "replace"] = "upsert"
    partition_by: SqlName | None = None
    quarantine_days: Annotated[int, Meta(ge=1)] = 30
    description: str = ""

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)


