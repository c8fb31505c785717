"""What was read of one partition and is not handed over yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from contracts.message import Delivery


class Ready:
    """Deliveries in the order in which they are handed over."""

    def __init__(self) -> None:
        self._waiting: deque[Delivery] = deque()
        self._size_bytes = 0
        self._rising = True  # positions only rise, so that all may go in one fetch

    def add(self, deliveries: Sequence[Delivery], size_bytes: int) -> None:
        if self._waiting and deliveries and deliveries[0].position <= self._waiting[-1].position:
            self._rising = False
        self._waiting += deliveries
        self._size_bytes += size_bytes

    def add_first(self, deliveries: Sequence[Delivery], size_bytes: int) -> None:
        """Before all that waits."""
        if self._waiting and deliveries and deliveries[-1].position >= self._waiting[0].position:
            self._rising = False
        self._waiting.extendleft(reversed(deliveries))
        self._size_bytes += size_bytes

    def take(self, max_rows: int, max_bytes: int) -> list[Delivery]:
        """The next fetch, in order of position; one delivery comes whatever its size."""
        waiting = self._waiting
        if self._rising and len(waiting) <= max_rows and self._size_bytes <= max_bytes:
            taken = list(waiting)
            self.clear()
            return taken
        taken = []
        size_bytes = 0
        while waiting and len(taken) < max_rows:
            following = waiting[0]
            size_bytes += following.size_bytes
            if taken and (size_bytes > max_bytes or following.position <= taken[-1].position):
                break
            taken.append(waiting.popleft())
            self._size_bytes -= following.size_bytes
        self._rising = self._rising or not waiting
        return taken

    def clear(self) -> None:
        self._waiting.clear()
        self._size_bytes = 0
        self._rising = True

    def __iter__(self) -> Iterator[Delivery]:
        return iter(self._waiting)

    def __len__(self) -> int:
        return len(self._waiting)
