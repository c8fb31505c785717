"""The rejected rows that are kept: listed, shown, exported."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from contracts.batch_etl import Exported, ExportQuarantine, ListQuarantine, QuarantinedRow
from contracts.errors import BadInput, NotFound
from contracts.ports import Db, Files
from contracts.ports.database import Row

_ROWS = """
select id, dataset, file, partition, line, reasons, raw, raw_bytes, escaped, job_id, rejected_at, expires_at
from millrace.quarantine
"""
_EXPORTED_AT_ONCE = 1000


async def listed(cmd: ListQuarantine, db: Db) -> list[QuarantinedRow]:
    """The newest first, rows of one load in the order of the file."""
    rows = await db.fetch(
        f"{_ROWS} where ($1::text is null or dataset = $1) and ($2::text is null or file = $2)"
        " order by rejected_at desc, dataset, file, partition, line limit $3",
        cmd.dataset,
        cmd.file,
        cmd.limit,
    )
    return [_row(row) for row in rows]


async def one(identity: int, db: Db) -> QuarantinedRow:
    """Raises `NotFound`."""
    row = await db.fetch_one(f"{_ROWS} where id = $1", identity)
    if row is None:
        raise NotFound(f"there is no rejected row {identity}: it may have expired; see `millrace quarantine list`")
    return _row(row)


async def exported(cmd: ExportQuarantine, db: Db, files: Files) -> Exported:
    """One JSON object a line, in order of file and line, as of one moment for each batch of them."""
    if not cmd.to.endswith(".jsonl"):
        raise BadInput(f"to: {cmd.to!r} must end in .jsonl, which is what is written")
    written = 0

    async def lines() -> AsyncIterator[bytes]:
        nonlocal written
        last: tuple[Any, ...] = ("", -1, 0)
        while True:
            rows = await db.fetch(
                f"{_ROWS} where dataset = $1 and ($2::text is null or file = $2)"
                " and (file, line, id) > ($3, $4, $5) order by file, line, id limit $6",
                cmd.dataset,
                cmd.file,
                *last,
                _EXPORTED_AT_ONCE,
            )
            if not rows:
                return
            written += len(rows)
            last = (rows[-1]["file"], rows[-1]["line"], rows[-1]["id"])
            yield b"".join(msgspec.json.encode(_row(row)) + b"\n" for row in rows)

    info = await files.write(cmd.to, lines())
    return Exported(path=info.path, rows=written, bytes=info.size_bytes)


def _row(row: Row) -> QuarantinedRow:
    reasons = tuple(
        f"column {reason['column']}: {reason['message']}" if reason["column"] else reason["message"]
        for reason in row["reasons"]
    )
    return QuarantinedRow(**{**row, "line": int(row["line"]), "reasons": reasons})
