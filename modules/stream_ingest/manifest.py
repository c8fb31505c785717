"""The manifest: what `lake list` shows of it."""

from __future__ import annotations

from contracts.ports import Db
from contracts.stream_ingest import LakeFile, ListLake

_FILES = """
select lake, path, format, event_date, rows, bytes, topic, partition, first_position, last_position, written_at
from millrace.lake_files
where ($1::text is null or lake = $1) and ($2::date is null or event_date = $2)
order by written_at desc, path limit $3
"""


async def listed(cmd: ListLake, db: Db) -> list[LakeFile]:
    """The newest first."""
    rows = await db.fetch(_FILES, cmd.lake, cmd.date, cmd.limit)
    return [
        LakeFile(
            **{
                **row,
                "first_position": int(row["first_position"]),
                "last_position": int(row["last_position"]),
            }
        )
        for row in rows
    ]
