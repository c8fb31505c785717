"""The messages of `batch_etl`."""

from __future__ import annotations

from datetime import date as Day
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.message import Contract


class RunBatchEtl(Contract, frozen=True, kw_only=True):
    """Load the files of one dataset into its table."""

    dataset: Annotated[str, Meta(min_length=1, description="Name of a dataset in the catalog.")]
    date: Annotated[Day | None, Meta(description="The day to load: fills {date} in the source.")] = None
    from_date: Annotated[Day | None, Meta(description="First day of a range, with to_date.")] = None
    to_date: Annotated[Day | None, Meta(description="Last day of a range, included.")] = None
    source: Annotated[
        str | None, Meta(description="Read these files instead: a path or glob under the files root.")
    ] = None
    dry_run: Annotated[bool, Meta(description="Do everything but keep nothing.")] = False
    force: Annotated[bool, Meta(description="Load even what was loaded before and has not changed.")] = False
    max_rejected: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(description="Fail, and load nothing of that day, when more rows than this are rejected."),
    ] = None


class FileReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was read of one file."""

    path: str
    bytes: int
    read: int = 0
    rejected: int = 0
    skipped: bool = False
    """Its content was loaded before; nothing was read."""


class BatchEtlReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of every row: `read = loaded + updated + unchanged + duplicate + rejected`.

    `duplicate` rows lost to another row of their key in the same input (or, in mode append, to a row that was in
    the table). `removed` rows were in the table and were swapped out (mode replace). `published` ones were published as
    events. A row with several faults
    counts once in `rejected` and once for each in `rejected_by_reason`. `files` holds at most a thousand.
    """

    dataset: str
    table: str
    read: int = 0
    loaded: int = 0
    updated: int = 0
    unchanged: int = 0
    duplicate: int = 0
    rejected: int = 0
    removed: int = 0
    published: int = 0
    bytes: int = 0
    seconds: float = 0.0
    dry_run: bool = False
    files: tuple[FileReport, ...] = ()
    files_read: int = 0
    files_skipped: int = 0
    rejected_by_reason: dict[str, int] = msgspec.field(default_factory=dict)


class CheckDataset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Read a sample of a dataset's files and say what a load would do with it; nothing is written."""

    dataset: Annotated[str, Meta(min_length=1, description="Name of a dataset in the catalog.")]
    date: Annotated[Day | None, Meta(description="The day whose files are looked at.")] = None
    source: Annotated[str | None, Meta(description="Look at these files instead: a path or glob.")] = None
    rows: Annotated[int, Meta(ge=1, le=1_000_000, description="How many rows of each file to read.")] = 10_000


class RejectedRow(msgspec.Struct, frozen=True, kw_only=True):
    """Where a row is that would be rejected, and why."""

    file: str
    line: int
    reasons: tuple[str, ...]


class CheckedDataset(msgspec.Struct, frozen=True, kw_only=True):
    """What `datasets check` found. `examples` are the first rejected rows, `table_changes` what a load would do to the
    table before it loads."""

    dataset: str
    table: str
    files: int
    read: int
    rejected: int
    rejected_by_reason: dict[str, int]
    table_changes: tuple[str, ...]
    examples: tuple[RejectedRow, ...]


class InferDataset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Write the first draft of a dataset's declaration from a file."""

    file: Annotated[str, Meta(min_length=1, description="A path under the files root.")]
    name: Annotated[str | None, Meta(description="Name of the dataset; told by the file's name unless given.")] = None
    rows: Annotated[int, Meta(ge=1, le=1_000_000, description="How many rows to look at.")] = 10_000


class ListDatasets(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every dataset of the catalog."""


class DatasetLine(msgspec.Struct, frozen=True, kw_only=True):
    """One dataset in the list; `fault` is there instead of the rest when its declaration can't be used."""

    name: str
    table: str = ""
    mode: str = ""
    format: str = ""
    source: str = ""
    columns: int = 0
    fault: str = ""


class ListQuarantine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rejected rows of files and messages of streams that are kept, the newest first."""

    dataset: Annotated[str | None, Meta(description="Only of this dataset or event.")] = None
    file: Annotated[str | None, Meta(description="Only of this file or topic.")] = None
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 50


class QuarantinedRow(msgspec.Struct, frozen=True, kw_only=True):
    """A rejected row of a file, or a message of an event: then `file` is its topic, and `line` its position there in
    `partition`. `raw` is its text, cut to 8 KiB, personal values masked; where `escaped`, bytes that are not text stand
    as \\xNN and a backslash as two."""

    id: int
    dataset: str
    file: str
    line: int
    partition: int | None
    reasons: tuple[str, ...]
    raw: str
    raw_bytes: int
    """How long it is in whole."""
    escaped: bool
    job_id: str
    rejected_at: datetime
    expires_at: datetime


class ShowQuarantined(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rejected row in full."""

    id: Annotated[int, Meta(ge=1, description="The row's id, as `quarantine list` shows it.")]


class ExportQuarantine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Write rejected rows to a file, one JSON object a line."""

    dataset: Annotated[str, Meta(min_length=1, description="Of this dataset or event.")]
    to: Annotated[str, Meta(min_length=1, description="A path under the files root, ending in .jsonl.")]
    file: Annotated[str | None, Meta(description="Only of this source file or topic.")] = None


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """The file that was written."""

    path: str
    rows: int
    bytes: int
