"""Lanes: what has one key stays in order, what has different keys runs side by side, and partitions take turns.

A pure schedule: `offer` in order of arrival, `take` what may start now, `done` when it ended. An item without a key
is a lane of its own. At most `width` items run at once; `waiting` is bounded by whoever offers. A source (a partition)
of which nothing may start yet holds up none of the others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

Item = TypeVar("Item")
Source = TypeVar("Source", bound=Hashable)


class Lanes(Generic[Source, Item]):
    """Holds what waits and what runs; `width` bounds the latter."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._ready: dict[Source, deque[tuple[str | None, Item]]] = {}
        self._turns: deque[Source] = deque()
        """Sources that have something ready, in the order in which they are next; those that are held are not."""
        self._held: list[Source] = []
        """In order, so that a schedule repeats itself."""
        self._behind: dict[str, deque[tuple[Source, Item]] | None] = {}
        """Keys that have an item ready or running, with those that wait behind it; None: none ever did."""
        self.running = 0
        self.waiting = 0

    def offer(self, source: Source, key: str | None, item: Item) -> None:
        self.waiting += 1
        if key is None:
            self._make_ready(source, None, item)
        elif key not in self._behind:
            self._behind[key] = None
            self._make_ready(source, key, item)
        elif (behind := self._behind[key]) is None:
            self._behind[key] = deque([(source, item)])
        else:
            behind.append((source, item))

    def take(self) -> tuple[str | None, Item] | None:
        """The next item that may start, with its key; None when all lanes are busy or nothing may."""
        if self.running >= self._width or not self._turns:
            return None
        source = self._turns.popleft()
        ready = self._ready[source]
        taken = ready.popleft()
        if ready:
            self._turns.append(source)
        else:
            del self._ready[source]
        self.running += 1
        self.waiting -= 1
        return taken

    def hold(self, source: Source, key: str | None, item: Item) -> None:
        """It was taken and can't start yet, nor can what follows it: its source has no turn until `go_on`."""
        self.running -= 1
        self.waiting += 1
        if source in self._ready:
            self._turns.remove(source)
        self._ready.setdefault(source, deque()).appendleft((key, item))
        self._held.append(source)

    def go_on(self) -> None:
        """Whatever was held may be tried again."""
        self._turns.extend(self._held)
        self._held.clear()

    def done(self, key: str | None) -> None:
        """The running item of `key` ended: the one behind it becomes ready."""
        self.running -= 1
        if key is None:
            return
        behind = self._behind[key]
        if behind:
            source, item = behind.popleft()
            self._make_ready(source, key, item)
        else:
            del self._behind[key]

    @property
    def deepest(self) -> int:
        """How many wait behind one key at the most."""
        return max((len(behind) for behind in self._behind.values() if behind), default=0)

    def _make_ready(self, source: Source, key: str | None, item: Item) -> None:
        ready = self._ready.get(source)
        if ready is None:
            ready = self._ready[source] = deque()
            self._turns.append(source)
        ready.append((key, item))
