"""Which position of a partition may be committed: everything below it is finished.

The idea is that of Confluent's parallel-consumer (`PartitionState`): the watermark is the lowest unfinished position,
or one past the highest seen when nothing is unfinished. Gaps in the bus's own numbering need no special case.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice
from operator import lt


class Watermark:
    """Positions are offered in rising order and finish in any order."""

    def __init__(self, start: int = 0) -> None:
        self._next = start
        self._open: deque[int] = deque()
        self._finished: set[int] = set()

    def begin(self, position: int) -> None:
        """An unfinished position may be offered again (it was released). Raises `ValueError` for any other that is not
        above all before it: the bus broke its promise."""
        if position < self._next:
            if self.value <= position and position not in self._finished:
                return
            raise ValueError(f"position {position} was offered after {self._next - 1}")
        self._open.append(position)
        self._next = position + 1

    def begin_all(self, positions: Sequence[int]) -> None:
        """As `begin` for each, where all are new. Raises `ValueError`, and begins none, where they don't rise."""
        if positions[0] < self._next or not all(map(lt, positions, islice(positions, 1, None))):
            raise ValueError(f"positions {positions[0]} to {positions[-1]} don't rise from {self._next} on")
        self._open.extend(positions)
        self._next = positions[-1] + 1

    def finish(self, position: int) -> None:
        """Idempotent; a position that was never offered is refused."""
        self.finish_all((position,))

    def finish_all(self, positions: Iterable[int]) -> None:
        """As `finish` for each."""
        opened, finished, value = self._open, self._finished, self.value
        for position in positions:
            if position >= self._next:
                raise ValueError(f"position {position} was never offered (next is {self._next})")
            if position >= value:
                finished.add(position)
        while opened and opened[0] in finished:
            finished.discard(opened.popleft())

    @property
    def value(self) -> int:
        """Every position below it is finished."""
        return self._open[0] if self._open else self._next

    @property
    def tracked(self) -> int:
        """How many it remembers: what is unfinished, and what is finished above that."""
        return len(self._open)

    @property
    def unfinished(self) -> int:
        """How many were offered and did not finish."""
        return len(self._open) - len(self._finished)

    @property
    def unfinished_positions(self) -> list[int]:
        """Those, in order."""
        return [position for position in self._open if position not in self._finished]

    @property
    def finished_above(self) -> frozenset[int]:
        """Finished, but not yet covered by the watermark."""
        return frozenset(self._finished)
