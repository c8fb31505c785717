"""`source: lake:NAME`: the whole files of a lake, as its manifest lists them."""

from __future__ import annotations

from datetime import date

import msgspec

from contracts.dataset import CsvFormat, JsonlFormat, ParquetFormat
from contracts.errors import BadInput
from contracts.ports import Db, FileInfo

VERSION = "lake "
"""How the version of such a file begins. It never changes: nobody writes over it."""

_FILES = """
select path, format, bytes, written_at from millrace.lake_files
where lake = $1 and ($2::date is null or event_date = $2) order by path
"""
_CALLED = {"json": "jsonl"}


async def find(
    db: Db, name: str, day: date | None, declared: CsvFormat | JsonlFormat | ParquetFormat
) -> list[FileInfo]:
    """Those with events of a day, or all, in order of path; raises `BadInput` where they are of another format than
    the dataset declares."""
    rows = await db.fetch(_FILES, name, day)
    form = msgspec.to_builtins(declared)["type"]
    others = sorted({row["format"] for row in rows if _CALLED.get(row["format"], row["format"]) != form})
    if others:
        first = next(row["path"] for row in rows if row["format"] == others[0])
        raise BadInput(f"lake {name} has files in {', '.join(others)} (as {first}), the dataset declares {form}")
    return [
        FileInfo(
            path=row["path"],
            size_bytes=row["bytes"],
            modified_at=row["written_at"],
            version=f"{VERSION}{row['written_at'].isoformat()}",
        )
        for row in rows
    ]
