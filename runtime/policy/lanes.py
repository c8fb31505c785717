"""Lanes: what has one key stays in order, what has different keys runs side by side.

A pure schedule: `offer` in order of arrival, `take` what may start now, `done` when it ended. An item without a key
is a lane of its own. At most `width` items run at once; `waiting` is bounded by whoever offers.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Lanes(Generic[Item]):
    """Holds what waits and what runs; `width` bounds the latter."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._ready: deque[tuple[str | None, Item]] = deque()
        self._behind: dict[str, deque[Item]] = {}
        """Keys that have an item ready or running, with those that wait behind it."""
        self.running = 0
        self.waiting = 0

    def offer(self, key: str | None, item: Item) -> None:
        self.waiting += 1
        if key is None:
            self._ready.append((None, item))
        elif key in self._behind:
            self._behind[key].append(item)
        else:
            self._behind[key] = deque()
            self._ready.append((key, item))

    def take(self) -> tuple[str | None, Item] | None:
        """The next item that may start, with its key; None when all lanes are busy or nothing waits."""
        if self.running >= self._width or not self._ready:
            return None
        self.running += 1
        self.waiting -= 1
        return self._ready.popleft()

    def put_back(self, key: str | None, item: Item) -> None:
        """It was taken and can't start yet: it is the next to be taken."""
        self.running -= 1
        self.waiting += 1
        self._ready.appendleft((key, item))

    def done(self, key: str | None) -> None:
        """The running item of `key` ended: the one behind it becomes ready."""
        self.running -= 1
        if key is None:
            return
        behind = self._behind[key]
        if behind:
            self._ready.append((key, behind.popleft()))
        else:
            del self._behind[key]

    @property
    def deepest(self) -> int:
        """How many wait behind one key at the most."""
        return max((len(behind) for behind in self._behind.values()), default=0)
