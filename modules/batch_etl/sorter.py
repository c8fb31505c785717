"""Sorting and deduplicating a whole input in bounded memory.

Rows gather until they fill a run; a run is sorted, deduplicated and written to a temporary file. In the end all
runs are read side by side, one range of keys after the other. The bounds of the ranges are taken from the runs
themselves, and within a run a key is there once, so no skew of keys makes a range large. Input that fits into one
run never touches the disk. Without a key rows come out in the order in which they went in.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any

from contracts.dataset import Duplicates
from modules.batch_etl.cast import SEQ

if TYPE_CHECKING:
    import polars as pl

RUN_BYTES = 72 << 20
PART_ROWS = 128 << 10
BLOCK_ROWS = 8 << 10


class Run:
    """Sorted rows in a file that has no name any more, so that it is gone when the process is."""

    def __init__(
        self, parts: Iterator[pl.DataFrame], key: Sequence[str], *, block_rows: int, scratch: str | None
    ) -> None:
        import polars as pl
        import pyarrow as pa

        self._file: IO[bytes] = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 - `close` closes it
        writer: Any = None
        firsts = []
        for part in parts:  # a part is a multiple of a block, so blocks and `firsts` agree
            table = part.to_arrow().combine_chunks()
            writer = writer or pa.ipc.new_file(self._file, table.schema)
            writer.write_table(table, max_chunksize=block_rows)
            firsts.append(part.select(key).gather_every(block_rows))
        writer.close()
        self.firsts: list[tuple[Any, ...]] = pl.concat(firsts).rows() if key else []
        self._file.seek(0)
        self._reader = pa.ipc.open_file(self._file)
        self._next = 0
        self._carried: pl.DataFrame | None = None
        self._key = list(key)

    def below(self, bound: tuple[Any, ...] | None) -> pl.DataFrame | None:
        """The rows that were not taken yet and whose key is below `bound`; all that are left for None."""
        import polars as pl

        frames = [] if self._carried is None else [self._carried]
        self._carried = None
        while self._next < self._reader.num_record_batches and (bound is None or self.firsts[self._next] < bound):
            frame = pl.from_arrow(self._reader.get_batch(self._next))
            assert isinstance(frame, pl.DataFrame)
            frames.append(frame)
            self._next += 1
        if not frames:
            return None
        have = pl.concat(frames)
        if bound is None:
            return have
        taken = _count_below(have, self._key, bound)
        self._carried = have.slice(taken) if taken < have.height else None
        return have.head(taken) if taken else None

    def batches(self) -> Iterator[pl.DataFrame]:
        import polars as pl

        for index in range(self._reader.num_record_batches):
            frame = pl.from_arrow(self._reader.get_batch(index))
            assert isinstance(frame, pl.DataFrame)
            yield frame

    def close(self) -> None:
        self._file.close()


class Sorter:
    """Frames of typed rows with `SEQ` in, winners in key order out. `duplicates` counts the others once `frames` is
    through. Not thread-safe: one thread at a time."""

    def __init__(
        self,
        key: Sequence[str],
        duplicates: Duplicates,
        *,
        scratch: str | None = None,
        run_bytes: int = RUN_BYTES,
        part_rows: int = PART_ROWS,
        block_rows: int = BLOCK_ROWS,
    ) -> None:
        self.key = list(key)
        self.rows = 0
        self.duplicates = 0
        self.runs: list[Run] = []
        self._scratch = scratch
        self._run_bytes = run_bytes
        self._part_rows = part_rows
        self._block_rows = block_rows
        self._held: list[pl.DataFrame] = []
        self._held_bytes = 0
        by = [duplicates.by] if duplicates.by is not None else []
        self._by = [*self.key, *(name for name in by if name not in self.key), SEQ]
        self._descending = [name in by and name not in self.key and duplicates.keep == "lowest" for name in self._by]
        self._first_wins = duplicates.keep == "first"

    def add(self, frame: pl.DataFrame) -> None:
        if not frame.height:
            return
        self._held.append(frame)
        self._held_bytes += int(frame.estimated_size())
        self.rows += frame.height
        if self._held_bytes >= self._run_bytes:
            self._spill()

    def frames(self) -> Iterator[pl.DataFrame]:
        """The winners, in key order, in frames of a bounded size; to be asked for once."""
        if not self.runs:
            if self._held:
                yield from self._settled()
            return
        if self._held:
            self._spill()
        if not self.key:
            for run in self.runs:
                yield from run.batches()
            return
        # The first keys of all blocks, in order: every so many blocks of rows a range ends.
        firsts = sorted(first for run in self.runs for first in run.firsts)
        every = max(1, self._part_rows // self._block_rows)
        for bound in [*dict.fromkeys(firsts[every::every]), None]:
            taken = [part for run in self.runs if (part := run.below(bound)) is not None]
            if taken:
                self._held = taken
                yield from self._settled()

    def close(self) -> None:
        for run in self.runs:
            run.close()
        self._held.clear()

    def _spill(self) -> None:
        self.runs.append(Run(self._settled(), self.key, block_rows=self._block_rows, scratch=self._scratch))

    def _settled(self) -> Iterator[pl.DataFrame]:
        """The winners of what is held. Only their order is computed for the whole; the rows are gathered part by
        part, so that the peak is what is held and one part, not three times what is held."""
        import polars as pl

        frame = pl.concat(self._held)
        self._held = []
        self._held_bytes = 0
        if not self.key:
            for at in range(0, frame.height, self._part_rows):
                yield frame.slice(at, self._part_rows)
            return
        places = frame.select(pl.arg_sort_by(self._by, descending=self._descending, nulls_last=False)).to_series()
        places = places.filter(self._wins(frame.select(self.key)[places]))
        self.duplicates += frame.height - places.len()
        for at in range(0, places.len(), self._part_rows):
            yield frame[places.slice(at, self._part_rows)]

    def _wins(self, keys: pl.DataFrame) -> pl.Series:
        """In sorted rows: the first or the last of each key."""
        import polars as pl

        step = 1 if self._first_wins else -1
        edge = 0 if self._first_wins else keys.height - 1
        differs = [pl.col(name).ne_missing(pl.col(name).shift(step)) for name in self.key]
        return keys.select(pl.any_horizontal(*differs, pl.int_range(pl.len()) == edge)).to_series()


def _count_below(frame: pl.DataFrame, key: Sequence[str], bound: tuple[Any, ...]) -> int:
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
