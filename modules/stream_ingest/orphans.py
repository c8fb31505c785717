"""Files that batches which came to nothing have left in a lake."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta

from contracts.errors import Conflict
from contracts.event import Lake
from contracts.ports import Db, FileInfo, Files
from contracts.ports.database import Queries
from contracts.stream_ingest import CleanedLake

OLD = timedelta(hours=1)
"""The batch that a younger file belongs to may still be at work: it has a deadline well below this."""

_ASKED_AT_ONCE = 1000
_NAME = re.compile(r"date=\d{4}-\d\d-\d\d/[a-z0-9._-]+-\d+-\d+-\d+(-\d+)?\.(parquet|jsonl|csv)")
_ONE_AT_A_TIME = "select pg_try_advisory_xact_lock(hashtextextended($1, 0))"
_LISTED = "select path from millrace.lake_files where path = any ($1::text[])"


async def clean(name: str, lake: Lake, db: Db, files: Files, now: datetime, *, dry_run: bool) -> CleanedLake:
    """Removes files that are named as ours are, are old, and that no manifest lists. Raises `Conflict` while somebody
    else does so: what one of them saw as old, the other could have removed and a batch made anew."""
    root = lake.path.strip("/")
    removed: list[FileInfo] = []
    async with db.transaction() as tx:
        if not await tx.fetch_value(_ONE_AT_A_TIME, f"lake {root}"):
            raise Conflict(f"{root}, the lake {name}, is being cleaned already: wait for it")
        async for some in _orphans(tx, files, root, now):
            if not dry_run:
                await files.delete_many([info.path for info in some])
            removed += some
    size = sum(info.size_bytes for info in removed)
    return CleanedLake(lake=name, files=tuple(info.path for info in removed), bytes=size)


async def _orphans(db: Queries, files: Files, root: str, now: datetime) -> AsyncIterator[list[FileInfo]]:
    """Some at a time."""
    some: list[FileInfo] = []
    async for info in files.list(f"{root}/date="):
        if now - info.modified_at >= OLD and _NAME.fullmatch(info.path[len(root) + 1 :]):
            some.append(info)
        if len(some) == _ASKED_AT_ONCE:
            yield await _unlisted(db, some)
            some = []
    yield await _unlisted(db, some)


async def _unlisted(db: Queries, infos: Sequence[FileInfo]) -> list[FileInfo]:
    listed = {row["path"] for row in await db.fetch(_LISTED, [info.path for info in infos])}
    return [info for info in infos if info.path not in listed]
