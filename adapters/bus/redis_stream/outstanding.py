"""What was delivered of one partition and is not committed: positions with their entry ids. Plain state."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from heapq import heappop, heappush


class Outstanding:
    """In order of position. What was handed back is out still, and waits to be delivered once more."""

    def __init__(self) -> None:
        self._positions: list[int] = []
        self._ids: list[bytes] = []
        self._again: list[int] = []  # a heap; those that are finished since are passed over
        self._back: set[int] = set()

    @property
    def waits(self) -> bool:
        """Something was handed back."""
        return bool(self._back)

    def add(self, positions: Sequence[int], ids: Sequence[bytes]) -> None:
        """In order of position. Idempotent."""
        known = self._positions
        if not known or (positions and positions[0] > known[-1]):
            known += positions
            self._ids += ids
            return
        for position, entry_id in zip(positions, ids, strict=True):
            at = bisect_left(known, position)
            if at == len(known) or known[at] != position:
                known.insert(at, position)
                self._ids.insert(at, entry_id)

    def below(self, position: int) -> Sequence[bytes]:
        """The ids of what is out below `position`."""
        return self._ids[: bisect_left(self._positions, position)]

    def id_of(self, position: int) -> bytes | None:
        at = bisect_left(self._positions, position)
        return self._ids[at] if at < len(self._positions) and self._positions[at] == position else None

    def finish_below(self, position: int) -> None:
        count = bisect_left(self._positions, position)
        del self._positions[:count], self._ids[:count]
        if self._back:
            self._back = {each for each in self._back if each >= position}

    def finish(self, position: int) -> None:
        """This one alone."""
        at = bisect_left(self._positions, position)
        if at < len(self._positions) and self._positions[at] == position:
            del self._positions[at], self._ids[at]
            self._back.discard(position)

    def hand_back(self, positions: Iterable[int]) -> None:
        """What is not out is left as it is."""
        for position in positions:
            if position not in self._back and self.id_of(position) is not None:
                self._back.add(position)
                heappush(self._again, position)

    def take_back(self, count: int) -> list[int]:
        """The first of what was handed back, in order."""
        taken: list[int] = []
        while self._again and len(taken) < count:
            position = heappop(self._again)
            if position in self._back:
                self._back.discard(position)
                taken.append(position)
        return taken

    def clear(self) -> None:
        self._positions.clear()
        self._ids.clear()
        self._again.clear()
        self._back.clear()
