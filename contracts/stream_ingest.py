"""The messages of `stream_ingest`."""

from __future__ import annotations

from datetime import date as Day
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from contracts.event import TOPIC
from contracts.message import Contract

BATCH_LANDED = "ingest.batch_landed"


class RunStreamIngest(Contract, frozen=True, kw_only=True):
    """Land the events of topics in tables and lakes, as the catalog declares it, until it is stopped."""

    topic: Annotated[
        Annotated[str, Meta(pattern=TOPIC)] | None,
        Meta(description="Only the events of this topic; without it, every event of the catalog that has `land`."),
    ] = None
    batch_size: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000)] | None,
        Meta(description="At most so many events in one transaction, whatever is declared."),
    ] = None
    output_format: Annotated[
        Literal["parquet", "json", "csv"] | None, Meta(description="Of new files in lakes, whatever is declared.")
    ] = None


class BatchLanded(Contract, frozen=True, kw_only=True):
    """Events of one partition, from the first position to the last one, are where they belong: in `table`, or in
    `files` of the lake. `rows` landed, `quarantined` were refused; a position that is neither was dropped by policy."""

    event: str
    topic: str
    partition: int
    first_position: int
    last_position: int
    rows: int
    quarantined: int = 0
    table: str | None = None
    files: tuple[str, ...] = ()


class ListLake(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole files of the lakes, the newest first."""

    lake: Annotated[str | None, Meta(description="Only of this one; a lake is called as its event is.")] = None
    date: Annotated[Day | None, Meta(description="Only with events of this (UTC) day.")] = None
    limit: Annotated[int, Meta(ge=1, le=100_000)] = 100


class LakeFile(msgspec.Struct, frozen=True, kw_only=True):
    """A whole file, and what is in it: events of one day, of one partition between two positions."""

    lake: str
    path: str
    format: str
    event_date: Day
    rows: int
    bytes: int
    topic: str
    partition: int
    first_position: int
    last_position: int
    written_at: datetime


class CleanLake(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Remove what batches that came to nothing have left in the lakes: files that no manifest lists."""

    lake: Annotated[str | None, Meta(description="Only of this one.")] = None
    dry_run: Annotated[bool, Meta(description="Only say which ones.")] = False


class CleanedLake(msgspec.Struct, frozen=True, kw_only=True):
    """The files that were removed, or would have been."""

    lake: str
    files: tuple[str, ...] = ()
    bytes: int = 0
