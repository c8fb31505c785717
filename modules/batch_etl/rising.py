"""Telling the rows whose key can't have come before from those whose key may have, at no cost in memory.

A key that is above every key that went straight before it is new. Files are mostly written in the order of their key,
so nearly all rows of a first load can go straight into the table while the file is still being read. The others are
held back, and it is decided in the end what becomes of them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import TYPE_CHECKING

from modules.batch_etl.sorter import Sorter
from modules.batch_etl.threads import in_thread

if TYPE_CHECKING:
    import polars as pl

HELD_ROWS = 10_000
HELD_SHARE = 8
"""More than so many rows, and more than one in so many, are too many to be held back."""


class OutOfOrder(Exception):
    """After a good beginning too many rows came out of order: sort them all instead."""


class Rising:
    """Passes on frames of rows whose keys rise without end and holds the other rows back in the sorter.

    When the first frame is out of order already, all rows are held back. Without a key none is. Raises `OutOfOrder`
    when too many would be held though some went straight.
    """

    def __init__(
        self, key: Sequence[str], held: Sorter, *, held_rows: int = HELD_ROWS, held_share: int = HELD_SHARE
    ) -> None:
        self.key = list(key)
        self.held = held
        self.passed = 0
        self._held_rows = held_rows
        self._held_share = held_share
        self._highest: pl.DataFrame | None = None
        self._holds_all = False

    async def pass_on(self, frames: AsyncIterator[pl.DataFrame]) -> AsyncGenerator[pl.DataFrame]:
        async for frame in frames:
            passed = await in_thread(self._split, frame) if self.key else frame
            self.passed += passed.height
            if passed.height:
                yield passed

    def _split(self, frame: pl.DataFrame) -> pl.DataFrame:
        if self._holds_all:
            self.held.add(frame)
            return frame.clear()
        rises = self._rises(frame)
        if rises.all():
            return self._ending(frame)
        passed, held = frame.filter(rises), frame.filter(~rises)
        most = max(self._held_rows, (self.passed + frame.height) // self._held_share)
        if self.held.rows + held.height <= most:
            self.held.add(held)
            return self._ending(passed)
        if self.passed or self.held.rows:
            raise OutOfOrder
        self._holds_all = True
        self.held.add(frame)
        return frame.clear()

    def _ending(self, passed: pl.DataFrame) -> pl.DataFrame:
        if passed.height:
            self._highest = passed.select(self.key).tail(1)
        return passed

    def _rises(self, frame: pl.DataFrame) -> pl.Series:
        """Where a key is above the highest one before it."""
        import polars as pl

        keys = frame.select(self.key)
        if self._highest is not None:
            keys = pl.concat([self._highest, keys])
        key = pl.col(self.key[0]) if len(self.key) == 1 else pl.struct(self.key)
        # A number is its own rank; anything else must be sorted for one.
        rank = key if keys.width == 1 and keys.dtypes[0].is_integer() else key.rank("dense")
        rises = keys.select((rank > rank.cum_max().shift(1)).fill_null(value=True)).to_series()
        return rises.slice(rises.len() - frame.height)
