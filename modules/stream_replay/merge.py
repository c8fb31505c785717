"""Several partitions as one stream: each in its own order, and all together by the time at which messages came.

Without that one partition would come whole after the other, and what is last in the first would make everything in the
second late: for windows it matters in which order messages came, to within their disorder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from heapq import heapify, heappop, heapreplace

from contracts.message import Delivery, Partition
from contracts.ports.history import Reader, Stretch

LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)


class _Line:
    """One partition: what was read of it, and the first message that was not taken."""

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self.head: Delivery | None = None
        self._rest: Iterator[Delivery] = iter(())

    async def go_on(self, reader: Reader) -> bool:
        """To the next message; False: there is none."""
        self.head = next(self._rest, None)
        if self.head is None:
            self._rest = iter(await reader.following(self.partition))
            self.head = next(self._rest, None)
        return self.head is not None

    def rank(self, index: int) -> tuple[datetime, int]:
        assert self.head is not None
        return self.head.envelope.published_at or LONG_AGO, index


class Merged:
    """`take` what comes next."""

    def __init__(self, reader: Reader, stretches: Sequence[Stretch]) -> None:
        self._reader = reader
        self._lines = [_Line(stretch.partition) for stretch in stretches if not stretch.is_empty]
        self._heads: list[tuple[datetime, int]] = []
        self._begun = False

    async def take(self, rows: int, size_bytes: int) -> list[Delivery]:
        """At most so many, and so many bytes of bodies, or one that is larger; empty: that was all."""
        if not self._begun:
            await self._begin()
        taken: list[Delivery] = []
        while self._heads and len(taken) < rows:
            index = self._heads[0][1]
            line = self._lines[index]
            head = line.head
            assert head is not None
            size_bytes -= head.size_bytes
            if taken and size_bytes < 0:
                break
            taken.append(head)
            if await line.go_on(self._reader):
                heapreplace(self._heads, line.rank(index))
            else:
                heappop(self._heads)
        return taken

    async def _begin(self) -> None:
        self._begun = True
        for index, line in enumerate(self._lines):
            if await line.go_on(self._reader):
                self._heads.append(line.rank(index))
        heapify(self._heads)
