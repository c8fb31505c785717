"""A sorted run on disk, which is read from its start, as far as a key."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

Bound = tuple[Any, ...]


class Run:
    """Frames that are sorted by `key`, in a file that has no name any more, so that it is gone when the process is.

    Without a key they are frames in their order. Each is kept in blocks of at most `block_rows` rows, one of which
    at a time is in memory; `firsts` has the first key of each block.
    """

    def __init__(
        self, frames: Iterator[pl.DataFrame], key: Sequence[str], *, block_rows: int, scratch: str | None
    ) -> None:
        import pyarrow as pa

        self.rows = 0
        self.firsts: list[Bound] = []
        self._key = list(key)
        self._next = 0
        self._carried: pl.DataFrame | None = None
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 - `close` closes it
        writer: Any = None
        for frame in frames:
            table = frame.to_arrow().combine_chunks()
            writer = writer or pa.ipc.new_file(self._file, table.schema)
            writer.write_table(table, max_chunksize=block_rows)
            self.firsts += frame.select(self._key).gather_every(block_rows).rows() if key else []
            self.rows += frame.height
        writer.close()
        self._file.seek(0)
        self._reader = pa.ipc.open_file(self._file)

    def below(self, bound: Bound | None) -> pl.DataFrame | None:
        """The rows that were not taken yet and whose key is below `bound`; all that are left for None."""
        import polars as pl

        frames = [] if self._carried is None else [self._carried]
        self._carried = None
        while self._next < self._reader.num_record_batches and (bound is None or self.firsts[self._next] < bound):
            frames.append(self._block(self._next))
            self._next += 1
        if not frames:
            return None
        have = pl.concat(frames)
        if bound is None:
            return have
        taken = _count_below(have, self._key, bound)
        self._carried = have.slice(taken) if taken < have.height else None
        return have.head(taken) if taken else None

    def blocks(self) -> Iterator[pl.DataFrame]:
        """All rows, as they were written."""
        for index in range(self._reader.num_record_batches):
            yield self._block(index)

    def close(self) -> None:
        self._file.close()

    def _block(self, index: int) -> pl.DataFrame:
        import polars as pl

        frame = pl.from_arrow(self._reader.get_batch(index))
        assert isinstance(frame, pl.DataFrame)
        return frame


def _count_below(frame: pl.DataFrame, key: Sequence[str], bound: Bound) -> int:
    """How many rows of a sorted frame have a key below `bound`."""
    keys = frame.select(key)
    low, high = 0, frame.height
    while low < high:
        middle = (low + high) // 2
        if keys.row(middle) < bound:
            low = middle + 1
        else:
            high = middle
    return low
