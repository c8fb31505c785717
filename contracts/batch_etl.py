"""The messages of `batch_etl`."""

from __future__ import annotations

from datetime import date as Day
from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.message import Contract


class RunBatchEtl(Contract):
    """Load the files of one dataset into its table."""

    dataset: Annotated[str, Meta(min_length=1, description="Name of a dataset in the catalog.")]
    date: Annotated[Day | None, Meta(description="The day to load: fills {date} in the source.")] = None
    from_date: Annotated[Day | None, Meta(description="First day of a range, with to_date.")] = None
    to_date: Annotated[Day | None, Meta(description="Last day of a range, included.")] = None
    source: Annotated[
        str | None, Meta(description="Read these files instead: a path or glob under the files root.")
    ] = None
    dry_run: Annotated[bool, Meta(description="Do everything but keep nothing.")] = False
    max_rejected: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(description="Fail, and load nothing, when more rows than this are rejected."),
    ] = None


class FileReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one file. `read = loaded + updated + unchanged + duplicate + rejected`."""

    path: str
    bytes: int
    read: int = 0
    rejected: int = 0
    skipped: bool = False
    """Its content was loaded before; nothing was read."""


class BatchEtlReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of every row: `read = loaded + updated + unchanged + duplicate + rejected`."""

    dataset: str
    table: str
    read: int
    loaded: int
    updated: int
    unchanged: int
    duplicate: int
    rejected: int
    bytes: int
    seconds: float
    dry_run: bool = False
    files: tuple[FileReport, ...] = ()
    rejected_by_reason: dict[str, int] = msgspec.field(default_factory=dict)
