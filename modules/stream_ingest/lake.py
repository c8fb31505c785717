"""The lake of an event: files by date, and the manifest that says which of them are whole.

    path/date=2026-01-15/orders.placed-3-5000-104999.parquet      topic, partition, first and last position

A file is written before the transaction that lists it commits, so what the manifest lists is there. A batch that came
to nothing leaves a file that nobody lists; nobody ever writes over a file, since a worker that was thought dead may
still be writing: a name that is taken gets a number behind it. `orphans` removes what is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date
from typing import Any

import msgspec
from anyio import to_thread

from contracts.errors import Transient
from contracts.event import Lake
from contracts.message import Partition
from contracts.ports import Db, Files
from modules.stream_ingest import formats
from modules.stream_ingest.intake import Intake, Taken

TRIES = 100
"""A name is taken by a batch that came to nothing; so many in a row are no accident."""

_LIST = """
insert into millrace.lake_files (path, lake, format, event_date, rows, bytes, topic, partition, first_position,
    last_position) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
"""


class Written(msgspec.Struct, frozen=True):
    """A file that is written, and as whole as the transaction that lists it."""

    path: str
    day: date
    rows: int
    bytes: int


class _Content(msgspec.Struct, frozen=True):
    day: date
    rows: int
    data: bytes


class LakeFiles:
    """Writes the files of one event."""

    def __init__(self, intake: Intake, declared: Lake) -> None:
        self.declared = declared
        self._intake = intake

    async def write(
        self, db: Db, files: Files, raws: Sequence[bytes], place: Partition, positions: tuple[int, int]
    ) -> tuple[list[Written], Taken]:
        """One file for each date, listed in the transaction of `db`; and what became of the messages: those that a
        declaration which has changed meanwhile refuses are in none."""
        taken = self._intake.again(raws)
        contents = await to_thread.run_sync(self._contents, taken.rows)
        written = [await self._put(files, content, place, positions) for content in contents]
        whose, form = self._intake.event.name, self.declared.format
        listed = [
            (one.path, whose, form, one.day, one.rows, one.bytes, place.address, place.index, *positions)
            for one in written
        ]
        await db.execute_many(_LIST, listed)
        return written, taken

    def _contents(self, rows: Sequence[Any]) -> list[_Content]:
        time_of = self._intake.time_of
        assert time_of is not None, "a lake is declared with the time of its events"
        by_day: dict[date, list[Sequence[Any]]] = {}
        for row in rows:
            by_day.setdefault(time_of(row).astimezone(UTC).date(), []).append(msgspec.structs.astuple(row))
        columns = self._intake.event.columns
        return [
            _Content(day, len(of_day), formats.encoded(self.declared.format, columns, of_day))
            for day, of_day in sorted(by_day.items())
        ]

    async def _put(self, files: Files, content: _Content, place: Partition, positions: tuple[int, int]) -> Written:
        folder = f"{self.declared.path.strip('/')}/date={content.day.isoformat()}"
        begins = f"{folder}/{place.address}-{place.index}-{positions[0]}-{positions[1]}"
        for number in range(TRIES):
            again = f"-{number}" if number else ""
            path = f"{begins}{again}.{formats.ENDINGS[self.declared.format]}"
            try:
                info = await files.write(path, content.data, mode="create")
            except FileExistsError:
                continue
            return Written(info.path, content.day, content.rows, info.size_bytes)
        raise Transient(f"{begins} and {TRIES - 1} names after it are taken: run `millrace lake clean`")
