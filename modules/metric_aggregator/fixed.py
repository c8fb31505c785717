"""Tumbling and hopping windows: where they lie is known before any event comes."""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec

from contracts.aggregation import Hopping, Tumbling
from modules.metric_aggregator.instant import EPOCH, instant, micros, span
from modules.metric_aggregator.layout import Layout, Window
from modules.metric_aggregator.store import Fit, Overweight, Row, rows_of
from modules.metric_aggregator.told import Result

_Group = tuple[datetime, datetime, defaultdict[Any, list[Any]]]


class FixedWindows:
    """Implements `Windows`. By their start, and by key within. The epoch is cut into *panes*, the longest pieces that
    lie in the same windows as a whole: for tumbling windows these are the windows."""

    def __init__(self, window: Tumbling | Hopping, layout: Layout, key_of: Callable[[Any], Any], limit: int) -> None:
        self._size = span(window.size_s)
        self._every = span(window.every_s) if isinstance(window, Hopping) else self._size
        self._pane = math.gcd(self._size, self._every)
        self._layout = layout
        self._key_of = key_of
        self._limit = limit
        self._windows: dict[int, dict[Any, Window]] = {}
        self._open: list[int] = []
        self._closed: list[int] = []
        self._changed: dict[int, dict[Any, Window]] = {}
        self.weight_bytes = 0

    def __len__(self) -> int:
        return sum(map(len, self._windows.values()))

    # Events come.

    def add(self, events: Sequence[msgspec.Struct], times: Sequence[datetime]) -> None:
        for pane, group in self._by_pane(events, times):
            self._fold(self._starts(pane), group)

    def add_late(self, event: msgspec.Struct, at: datetime, watermark: int, forgotten: int) -> Fit:
        starts = self._starts(micros(at) // self._pane)
        taking = [start for start in starts if start + self._size > forgotten]
        if not taking:
            return Fit.TOO_LATE
        self._fold(taking, {self._key_of(event): list(self._layout.read([event]))})
        return Fit.IN_TIME if starts[0] + self._size > watermark else Fit.LATE

    def _by_pane(
        self, events: Sequence[msgspec.Struct], times: Sequence[datetime]
    ) -> Iterator[tuple[int, defaultdict[Any, list[Any]]]]:
        """What was read of the events, by pane and key. Most events lie in the pane of the one before, which two
        comparisons tell: computing it anew would take as long as all the rest."""
        groups: dict[int, _Group] = {}
        start = end = EPOCH
        group: defaultdict[Any, list[Any]] = defaultdict(list)
        # The sequences are of one length, by construction: checking that costs a tenth.
        for at, key, read in zip(times, map(self._key_of, events), self._layout.read(events)):  # noqa: B905
            if not start <= at < end:
                pane = micros(at) // self._pane
                if pane not in groups:
                    first = pane * self._pane
                    groups[pane] = instant(first), instant(first + self._pane), defaultdict(list)
                start, end, group = groups[pane]
            group[key].append(read)
        return ((pane, group) for pane, (_, _, group) in groups.items())

    def _starts(self, pane: int) -> range:
        """Of the windows that a pane lies in, the earliest first."""
        at = pane * self._pane
        last = at // self._every * self._every
        before = (self._size - 1 - (at - last)) // self._every  # so many more end behind the begin of the pane
        return range(last - before * self._every, last + 1, self._every)

    def _fold(self, starts: Sequence[int], group: dict[Any, list[Any]]) -> None:
        layout = self._layout
        prepared = [(key, len(read), layout.columns(read)) for key, read in group.items()]
        for start in starts:
            windows, changed = self._at(start), self._changed.setdefault(start, {})
            for key, count, columns in prepared:
                window = windows.get(key)
                if window is None:
                    windows[key] = window = layout.empty()
                    self.weight_bytes += layout.begun_bytes(key)
                self.weight_bytes += layout.fold(window, count, columns)
                changed[key] = window
            if self.weight_bytes > self._limit:
                raise Overweight(self.weight_bytes, len(self))

    def _at(self, start: int) -> dict[Any, Window]:
        windows = self._windows.get(start)
        if windows is None:
            windows = self._windows[start] = {}
            heapq.heappush(self._open, start)
        return windows

    # Time goes on.

    def close(self, watermark: int, forgotten: int, *, changes: bool) -> list[Result]:
        told: list[Result] = []
        closing = set()
        while self._open and self._open[0] + self._size <= watermark:
            start = heapq.heappop(self._open)
            heapq.heappush(self._closed, start)
            closing.add(start)
            # All of them change by this, since that they were told is part of what is kept.
            self._changed[start] = self._windows[start]
            told += [self._result(start, key, window, closed=True) for key, window in self._windows[start].items()]
        for start, windows in self._changed.items():
            closed = start + self._size <= watermark
            if start not in closing:
                told += [
                    self._result(start, key, window, closed=closed)
                    for key, window in windows.items()
                    if closed or changes or window.revision
                ]
        self._forget(forgotten)
        return told

    def _result(self, start: int, key: Any, window: Window, *, closed: bool) -> Result:
        revision, corrects = window.revision, window.closed
        window.revision += 1
        window.closed = closed
        end = start + self._size
        return Result(key, start, end, self._layout.values(window), window.events, closed, revision, corrects)

    def retracted(self) -> list[Result]:
        return []

    def _forget(self, forgotten: int) -> None:
        while self._closed and self._closed[0] + self._size <= forgotten:
            start = heapq.heappop(self._closed)
            self._changed.pop(start, None)
            self.weight_bytes -= self._layout.weigh(self._windows.pop(start))

    # It is saved and restored.

    def changed_rows(self) -> Iterator[Row]:
        changed, self._changed = self._changed, {}
        return rows_of(changed)

    def all_rows(self) -> Iterator[Row]:
        return rows_of(self._windows)

    @property
    def saved_as(self) -> Any:
        return self._layout.saved_as

    def restore(self, rows: Sequence[Row], forgotten: int) -> None:
        for start, items in rows:
            if start + self._size > forgotten:
                self._at(start).update((key, Window(*saved)) for key, saved in items)

    def restored(self, watermark: int) -> None:
        self.weight_bytes = sum(map(self._layout.weigh, self._windows.values()))
        self._closed = sorted(start for start in self._open if start + self._size <= watermark)
        self._open = sorted(start for start in self._open if start + self._size > watermark)
