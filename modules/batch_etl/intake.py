"""Files in, typed rows and rejects out: read, split, cast; nothing of it needs the database.

What costs CPU runs in threads, one block at a time, so that the event loop stays free and a cancelled job ends after
the block that it is at.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

from contracts.dataset import CsvFormat, Dataset, JsonlFormat, ParquetFormat
from contracts.errors import BadInput, Permanent
from contracts.ports import FileInfo, Files
from modules.batch_etl.ahead import Ahead
from modules.batch_etl.cast import Caster
from modules.batch_etl.csv_rows import CsvReader
from modules.batch_etl.jsonl_rows import JsonlReader
from modules.batch_etl.parquet_rows import ParquetReader
from modules.batch_etl.record import LoadedFile
from modules.batch_etl.rejects import Rejects
from modules.batch_etl.rows import Bad, Piece, Reader, Rows
from modules.batch_etl.rules import Rules
from modules.batch_etl.source import begun, blocks
from modules.batch_etl.threads import each_in_thread, in_thread

if TYPE_CHECKING:
    import polars as pl

FILE_SHIFT = 40
"""The place of a row in the input is its file's index and, below this bit, its line."""

Told = Callable[[int, int], Awaitable[None]]
"""Told after each block: rows and bytes that were read so far."""


class TooManyRejected(Exception):
    """The bound of the command is passed: nothing will be loaded."""


class Intake:
    """Reads the files of a part into frames of typed rows, and `Rejects`. To be closed, which frees the disk that
    they use. `fault` is what the files were found to be wrong with, when that ended it."""

    def __init__(
        self, dataset: Dataset, rules: Rules, *, max_rejected: int | None = None, scratch: str | None = None
    ) -> None:
        self.dataset = dataset
        self.scratch = scratch
        self.max_rejected = max_rejected
        self.caster = Caster(rules)
        personal = any(column.personal for column in dataset.columns)
        self.rejects = Rejects(limit=dataset.quarantine_rows, scratch=scratch, personal=personal)
        self.files: list[LoadedFile] = []
        self.read = 0
        self.bytes = 0
        self.fault: Permanent | None = None

    async def frames(self, files: Files, infos: Sequence[FileInfo], told: Told) -> AsyncGenerator[pl.DataFrame]:
        """The good rows of all files, in order, each with its `SEQ`. Raises `BadInput` naming file and place, or
        `TooManyRejected`."""
        try:
            for info in infos:
                self.files.append(LoadedFile(path=info.path, version=info.version, size_bytes=info.size_bytes))
                if not info.size_bytes:
                    if not self.dataset.allow_empty:
                        raise BadInput(f"{info.path} is empty: it has 0 bytes (allow_empty: true lets it pass)")
                    self.files[-1].content = begun(info).value
                    continue
                async with aclosing(self._of_one(files, info, told)) as frames:
                    async for frame in frames:
                        yield frame
        except Permanent as error:
            self.fault = error
            raise

    async def _of_one(self, files: Files, info: FileInfo, told: Told) -> AsyncGenerator[pl.DataFrame]:
        taken, before = begun(info), self.bytes
        reader = reader_for(self.dataset, info.path, scratch=self.scratch)
        content = blocks(files, info, self.dataset, taken, scratch=self.scratch)
        # One block is cast while the next one is split and the one after that is read.
        async with aclosing(Ahead(split(reader, content))) as pieces:
            async for some in pieces:
                frame = await in_thread(self._cast_all, reader, some)
                self.bytes = before + taken.size_bytes
                await told(self.read, self.bytes)
                if frame is not None:
                    yield frame
        self.files[-1].content = taken.value

    def _cast_all(self, reader: Reader, pieces: Iterable[Piece]) -> pl.DataFrame | None:
        import polars as pl

        frames = [frame for piece in pieces if (frame := self._cast(reader, piece)) is not None]
        return pl.concat(frames) if frames else None

    def _cast(self, reader: Reader, piece: Piece) -> pl.DataFrame | None:
        file = len(self.files) - 1
        before = self.rejects.count
        frame = None
        if isinstance(piece, Bad):
            rows = 1
            self.rejects.add(file, piece.line, piece.reasons, lambda: piece.raw, None)
        else:
            rows = piece.frame.height
            frame = self._cast_rows(reader, piece, file)
        self.read += rows
        self.files[-1].read += rows
        self.files[-1].rejected += self.rejects.count - before
        if self.max_rejected is not None and self.rejects.count > self.max_rejected:
            raise TooManyRejected
        return frame

    def _cast_rows(self, reader: Reader, rows: Rows, file: int) -> pl.DataFrame:
        result = self.caster.cast(rows.frame, rows.lines + (file << FILE_SHIFT), nul=rows.nul)
        for index, reasons in result.rejected:
            self.rejects.add(file, rows.lines[index], reasons, lambda index=index: rows.text(index), reader.mask)  # type: ignore[misc]
        return result.frame

    def close(self) -> None:
        self.rejects.close()


async def split(reader: Reader, content: AsyncGenerator[bytes]) -> AsyncGenerator[Iterable[Piece]]:
    """What the reader makes of each block, and of the end."""
    async with aclosing(Ahead(content)) as ahead:
        async for block in ahead:
            yield await in_thread(reader.feed, block)
    # Piece by piece: what comes now can be all rows of a file, and its reading can be cancelled too.
    async with aclosing(each_in_thread(iter(await in_thread(reader.finish)))) as rest:
        async for piece in rest:
            yield (piece,)


def reader_for(dataset: Dataset, path: str, *, scratch: str | None = None) -> Reader:
    """The reader of the dataset's format, for one file."""
    match dataset.format:
        case CsvFormat():
            return CsvReader(dataset, path)
        case JsonlFormat():
            return JsonlReader(dataset, path)
        case ParquetFormat():
            return ParquetReader(dataset, path, scratch=scratch)
