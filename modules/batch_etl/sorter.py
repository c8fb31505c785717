"""Sorting and deduplicating a whole input in bounded memory.

Rows gather until they fill a run; a run is sorted, deduplicated and written to a temporary file. In the end all
runs are read side by side, one range of keys after the other. The bounds of the ranges are taken from the runs
themselves, and within a run a key is there once, so no skew of keys makes a range large. Many runs are merged to
one on the way, so that their number is bounded as well. Input that fits into one run never touches the disk. Without
a key rows come out in the order in which they went in.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING

from contracts.dataset import Duplicates
from modules.batch_etl.cast import SEQ
from modules.batch_etl.runs import Run
from modules.batch_etl.threads import in_thread

if TYPE_CHECKING:
    import polars as pl

RUN_BYTES = 48 << 20
"""Rows that are held before they are written, as Polars estimates their size."""
PART_BYTES = 10 << 20
"""What comes out at a time."""
BLOCK_BYTES = 640 << 10
"""What is read of a run at a time."""
MAX_BLOCK_ROWS = 8 << 10
FAN_IN = 32
"""So many runs of one size are merged to one of the next."""


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
        part_bytes: int = PART_BYTES,
        block_bytes: int = BLOCK_BYTES,
        fan_in: int = FAN_IN,
    ) -> None:
        self.key = list(key)
        self.rows = 0
        self.duplicates = 0
        self._scratch = scratch
        self._run_bytes = run_bytes
        self._blocks_a_part = max(1, part_bytes // block_bytes)
        self._block_bytes = block_bytes
        self._fan_in = fan_in
        self._levels: list[list[Run]] = [[]]
        self._held: list[pl.DataFrame] = []
        self._held_bytes = 0
        self._held_rows = 0
        self._bytes = 0
        by = [duplicates.by] if duplicates.by is not None else []
        self._by = [*self.key, *(name for name in by if name not in self.key), SEQ]
        self._descending = [name in by and name not in self.key and duplicates.keep == "lowest" for name in self._by]
        self._first_wins = duplicates.keep == "first"

    def add(self, frame: pl.DataFrame) -> None:
        if not frame.height:
            return
        size = int(frame.estimated_size())
        self._held.append(frame)
        self._held_bytes += size
        self._held_rows += frame.height
        self._bytes += size
        self.rows += frame.height
        if self._held_bytes >= self._run_bytes:
            self._spill()

    def frames(self) -> Iterator[pl.DataFrame]:
        """The winners, in key order, in frames of a bounded size; to be asked for once."""
        if not any(self._levels):
            if self._held:
                yield from self._settled(self._take(), self._block_rows())
            return
        if self._held:
            self._spill()
        runs = [run for level in reversed(self._levels) for run in level]
        if self.key:
            yield from self._merged(runs)
        else:
            for run in runs:
                yield from run.blocks()

    def close(self) -> None:
        for level in self._levels:
            for run in level:
                run.close()
        self._levels = [[]]
        self._held.clear()

    @property
    def runs(self) -> int:
        """How many are on disk."""
        return sum(map(len, self._levels))

    def _take(self) -> list[pl.DataFrame]:
        held, self._held = self._held, []
        self._held_bytes = self._held_rows = 0
        return held

    def _block_rows(self) -> int:
        """By the mean size of all rows that came so far."""
        return max(1, min(MAX_BLOCK_ROWS, self._block_bytes * self.rows // max(1, self._bytes)))

    def _spill(self) -> None:
        block_rows = self._block_rows()
        self._levels[0].append(self._run(self._settled(self._take(), block_rows), block_rows))
        for at, level in enumerate(self._levels):
            if len(level) < self._fan_in or not self.key:
                break
            merged = self._run(self._merged(level), block_rows)
            for run in level:
                run.close()
            level.clear()
            if at + 1 == len(self._levels):
                self._levels.append([])
            self._levels[at + 1].append(merged)

    def _run(self, frames: Iterator[pl.DataFrame], block_rows: int) -> Run:
        return Run(frames, self.key, block_rows=block_rows, scratch=self._scratch)

    def _merged(self, runs: Sequence[Run]) -> Iterator[pl.DataFrame]:
        """One range of keys after the other: after every so many blocks, by their first keys, a range ends."""
        firsts = sorted(first for run in runs for first in run.firsts)
        every = self._blocks_a_part
        block_rows = self._block_rows()
        for bound in [*dict.fromkeys(firsts[every::every]), None]:
            taken = [part for run in runs if (part := run.below(bound)) is not None]
            if taken:
                yield from self._settled(taken, block_rows)

    def _settled(self, frames: list[pl.DataFrame], block_rows: int) -> Iterator[pl.DataFrame]:
        """The winners of these frames. Only their order is computed for the whole; the rows are gathered part by
        part, so that the peak is what is held and one part, not three times what is held."""
        import polars as pl

        frame = pl.concat(frames)
        frames.clear()
        part_rows = self._blocks_a_part * block_rows
        if not self.key:
            for at in range(0, frame.height, part_rows):
                yield frame.slice(at, part_rows)
            return
        places = frame.select(pl.arg_sort_by(self._by, descending=self._descending, nulls_last=False)).to_series()
        places = places.filter(self._wins(frame.select(self.key)[places]))
        self.duplicates += frame.height - places.len()
        for at in range(0, places.len(), part_rows):
            yield frame[places.slice(at, part_rows)]

    def _wins(self, keys: pl.DataFrame) -> pl.Series:
        """In sorted rows: the first or the last of each key."""
        import polars as pl

        step = 1 if self._first_wins else -1
        edge = 0 if self._first_wins else keys.height - 1
        differs = [pl.col(name).ne_missing(pl.col(name).shift(step)) for name in self.key]
        return keys.select(pl.any_horizontal(*differs, pl.int_range(pl.len()) == edge)).to_series()


async def sort(frames: AsyncIterator[pl.DataFrame], into: Sorter) -> None:
    """All that is left of the frames into the sorter."""
    async for frame in frames:
        await in_thread(into.add, frame)
