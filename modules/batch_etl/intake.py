"""Files in, typed rows and rejects out: read, split, cast, sorted; nothing of it needs the database.

What costs CPU runs in a thread, one block at a time, so that the event loop stays free and a cancelled job ends
after the block that it is at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, TypeVar, cast

from anyio import to_thread

from contracts.dataset import CsvFormat, Dataset, JsonlFormat, ParquetFormat
from contracts.errors import BadInput
from contracts.ports import FileInfo, Files
from modules.batch_etl.cast import Caster
from modules.batch_etl.csv_rows import CsvReader
from modules.batch_etl.jsonl_rows import JsonlReader
from modules.batch_etl.parquet_rows import ParquetReader
from modules.batch_etl.record import LoadedFile
from modules.batch_etl.rejects import Rejects
from modules.batch_etl.rows import Bad, Piece, Reader, Rows
from modules.batch_etl.rules import Rules
from modules.batch_etl.sorter import Sorter
from modules.batch_etl.source import Fingerprint, blocks

if TYPE_CHECKING:
    pass

T = TypeVar("T")

FILE_SHIFT = 40
"""The place of a row in the input is its file's index and, below this bit, its line."""

Told = Callable[[int, int], Awaitable[None]]
"""Told after each block: rows and bytes that were read so far."""


class TooManyRejected(Exception):
    """The bound of the command is passed: nothing will be loaded."""


class Intake:
    """Reads the files of a part into a `Sorter` and `Rejects`. To be closed, which frees the disk that they use."""

    def __init__(
        self, dataset: Dataset, rules: Rules, *, max_rejected: int | None = None, scratch: str | None = None
    ) -> None:
        self.dataset = dataset
        self.scratch = scratch
        self.max_rejected = max_rejected
        self.caster = Caster(rules)
        self.sorter = Sorter(dataset.key, dataset.duplicates, scratch=scratch)
        self.personal = [column.name for column in dataset.columns if column.personal]
        self.rejects = Rejects(limit=dataset.quarantine_rows, scratch=scratch, personal=bool(self.personal))
        self.files: list[LoadedFile] = []
        self.read = 0
        self.bytes = 0

    async def take(self, files: Files, infos: Sequence[FileInfo], told: Told) -> None:
        """Read all files in order. Raises `BadInput` naming file and place, or `TooManyRejected`."""
        for info in infos:
            self.files.append(LoadedFile(path=info.path, version=info.version, size_bytes=info.size_bytes))
            if not info.size_bytes:
                if not self.dataset.allow_empty:
                    raise BadInput(f"{info.path} is empty: it has 0 bytes (allow_empty: true lets it pass)")
                self.files[-1].content = Fingerprint().value
                continue
            await self._take_one(files, info, told)

    async def _take_one(self, files: Files, info: FileInfo, told: Told) -> None:
        taken, before = Fingerprint(), self.bytes
        reader = reader_for(self.dataset, info.path, scratch=self.scratch)
        split: Iterable[Piece] = ()
        async with aclosing(blocks(files, info, self.dataset, taken, scratch=self.scratch)) as content:
            async for block in content:
                # One block is split while the rows of the one before it are cast: two cores have work.
                split = await _both(to_thread.run_sync(reader.feed, block), self._take_pieces(reader, split))
                self.bytes = before + taken.size_bytes
                await told(self.read, self.bytes)
        await self._take_pieces(reader, split)
        self.bytes = before + taken.size_bytes
        self.files[-1].content = taken.value
        await self._take_pieces(reader, await to_thread.run_sync(reader.finish), told)

    async def _take_pieces(self, reader: Reader, pieces: Iterable[Piece], told: Told | None = None) -> None:
        """Each piece in a thread of its own turn: a file of a million rows that comes at once can be cancelled too."""
        waiting = iter(pieces)
        while await to_thread.run_sync(self._take_next, reader, waiting):
            if told is not None:
                await told(self.read, self.bytes)

    def _take_next(self, reader: Reader, waiting: Iterator[Piece]) -> bool:
        piece = next(waiting, None)
        if piece is not None:
            self._take_piece(reader, piece)
        return piece is not None

    def _take_piece(self, reader: Reader, piece: Piece) -> None:
        file = len(self.files) - 1
        before = self.rejects.count
        if isinstance(piece, Bad):
            rows = 1
            self.rejects.add(file, piece.line, piece.reasons, lambda: piece.raw, None)
        else:
            rows = piece.frame.height
            self._take_rows(reader, piece, file)
        self.read += rows
        self.files[-1].read += rows
        self.files[-1].rejected += self.rejects.count - before
        if self.max_rejected is not None and self.rejects.count > self.max_rejected:
            raise TooManyRejected

    def _take_rows(self, reader: Reader, rows: Rows, file: int) -> None:
        cast = self.caster.cast(rows.frame, rows.lines + (file << FILE_SHIFT))
        for index, reasons in cast.rejected:
            self.rejects.add(file, rows.lines[index], reasons, lambda index=index: rows.text(index), reader.mask)  # type: ignore[misc]
        self.sorter.add(cast.frame)

    def close(self) -> None:
        self.sorter.close()
        self.rejects.close()


async def _both(wanted: Awaitable[T], beside: Awaitable[None]) -> T:
    """The answer of `wanted`, once both have ended; the error of either, of `beside` first."""
    answer, fault = await asyncio.gather(wanted, beside, return_exceptions=True)
    for error in (fault, answer):
        if isinstance(error, BaseException):
            raise error
    return cast(T, answer)


def reader_for(dataset: Dataset, path: str, *, scratch: str | None = None) -> Reader:
    """The reader of the dataset's format, for one file."""
    match dataset.format:
        case CsvFormat():
            return CsvReader(dataset, path)
        case JsonlFormat():
            return JsonlReader(dataset, path)
        case ParquetFormat():
            return ParquetReader(dataset, path, scratch=scratch)
