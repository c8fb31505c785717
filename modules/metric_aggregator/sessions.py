"""Sessions: windows that events make, each from its time to a gap later; those that overlap are one."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import count
from typing import Any

import msgspec

from contracts.aggregation import Session
from modules.metric_aggregator.instant import micros, span
from modules.metric_aggregator.layout import Layout, Window
from modules.metric_aggregator.store import Fit, Overweight, Row, rows_of
from modules.metric_aggregator.told import Result

_Due = tuple[int, int, Any]
"""The end of a session, a number that tells ties apart, and its key."""


class OneSession(msgspec.Struct, array_like=True, gc=False):
    """From the first event to the gap after the last one."""

    start: int
    end: int
    window: Window


class SessionWindows:
    """Implements `Windows`. By key; the sessions of one key are in order, and apart.

    An event is too late when it would be a session that is forgotten, unless it lies within one that is not. So a start
    is never that of a session that was forgotten, which it would overwrite where results are kept.
    """

    def __init__(self, window: Session, layout: Layout, key_of: Callable[[Any], Any], limit: int) -> None:
        self._gap = span(window.gap_s)
        self._layout = layout
        self._key_of = key_of
        self._limit = limit
        self._sessions: dict[Any, list[OneSession]] = {}
        self._changed: dict[Any, list[OneSession]] = {}
        self._touched: dict[tuple[Any, int], OneSession] = {}
        self._retracted: list[Result] = []
        # An entry whose session has another end by now is passed over: there is a newer one.
        self._open: list[_Due] = []
        self._closed: list[_Due] = []
        self._ties = count()
        self._count = 0
        self.weight_bytes = 0

    def __len__(self) -> int:
        return self._count

    # Events come.

    def add(self, events: Sequence[msgspec.Struct], times: Sequence[datetime]) -> None:
        by_key: defaultdict[Any, list[tuple[int, Any]]] = defaultdict(list)
        reads = zip(map(self._key_of, events), map(micros, times), self._layout.read(events), strict=False)
        for key, at, read in reads:
            by_key[key].append((at, read))
        for key, found in by_key.items():
            # By time only: the values need not have an order, and those of one time stay in theirs.
            found.sort(key=lambda one: one[0])
            for run in self._runs(found):
                self._merge(key, run, forgotten=None)
        if self.weight_bytes > self._limit:
            raise Overweight(self.weight_bytes, len(self))

    def add_late(self, event: msgspec.Struct, at: datetime, watermark: int, forgotten: int) -> Fit:
        when, key = micros(at), self._key_of(event)
        end = when + self._gap
        held = any(one.start <= when < one.end for one in self._sessions.get(key, ()) if one.end > forgotten)
        if end <= forgotten and not held:
            return Fit.TOO_LATE
        self._merge(key, [(when, next(iter(self._layout.read([event]))))], forgotten=forgotten)
        return Fit.IN_TIME if end > watermark else Fit.LATE

    def _runs(self, found: list[tuple[int, Any]]) -> Iterator[list[tuple[int, Any]]]:
        """What lies closer together than the gap."""
        run = found[:1]
        for one in found[1:]:
            if one[0] - run[-1][0] >= self._gap:
                yield run
                run = []
            run.append(one)
        yield run

    def _merge(self, key: Any, run: list[tuple[int, Any]], *, forgotten: int | None) -> None:
        """A run of events, and whatever it overlaps of what isn't forgotten, becomes one session."""
        layout = self._layout
        start, end = run[0][0], run[-1][0] + self._gap
        sessions = self._sessions.get(key)
        if sessions is None:
            sessions = self._sessions[key] = []
        met = [
            one
            for one in sessions
            if one.start < end and start < one.end and (forgotten is None or one.end > forgotten)
        ]
        joins = bool(met) and met[0].start <= start
        into = met[0] if joins else OneSession(start, end, self._begun(key))
        for other in met:
            end = max(end, other.end)
            if other is not into:
                self._take_over(into, key, other)
        columns = layout.columns([read for _, read in run])
        self.weight_bytes += layout.fold(into.window, len(run), columns)
        if not joins or into.end != end:
            into.end = end
            heapq.heappush(self._open, (end, next(self._ties), key))
        sessions[:] = sorted([one for one in sessions if one not in met] + [into], key=lambda one: one.start)
        self._changed[key] = sessions
        self._touched[key, into.start] = into

    def _begun(self, key: Any) -> Window:
        self._count += 1
        self.weight_bytes += self._layout.begun_bytes(key)
        return self._layout.empty()

    def _take_over(self, into: OneSession, key: Any, other: OneSession) -> None:
        """What was told of the other one is taken back: there is nothing under its start any more."""
        self.weight_bytes -= self._weight(key, into) + self._weight(key, other)
        self._layout.join(into.window, other.window)
        self.weight_bytes += self._weight(key, into)
        self._count -= 1
        self._touched.pop((key, other.start), None)
        if other.window.revision:
            self._retracted.append(self._result(key, other, closed=True))

    # Time goes on.

    def close(self, watermark: int, forgotten: int, *, changes: bool) -> list[Result]:
        told = []
        for key, session in self._ended(self._open, watermark):
            heapq.heappush(self._closed, (session.end, next(self._ties), key))
            told.append(self._result(key, session, closed=True))
            self._changed[key] = self._sessions[key]
            self._touched.pop((key, session.start), None)
        for (key, _), session in self._touched.items():
            closed = session.end <= watermark
            if closed or changes or session.window.revision:
                told.append(self._result(key, session, closed=closed))
        self._touched.clear()
        for key, session in self._ended(self._closed, forgotten):
            self._forget(key, session)
        return told

    def retracted(self) -> list[Result]:
        retracted, self._retracted = self._retracted, []
        return retracted

    def _ended(self, due: list[_Due], until: int) -> Iterator[tuple[Any, OneSession]]:
        """Each session that ends by then, once: when two became one, both may have left an entry."""
        ended = set()
        while due and due[0][0] <= until:
            end, _, key = heapq.heappop(due)
            if (key, end) in ended:
                continue
            ended.add((key, end))
            for session in self._sessions.get(key, ()):
                if session.end == end:
                    yield key, session
                    break

    def _result(self, key: Any, session: OneSession, *, closed: bool) -> Result:
        window = session.window
        revision, corrects = window.revision, window.closed
        window.revision += 1
        window.closed = closed
        values = self._layout.values(window)
        return Result(key, session.start, session.end, values, window.events, closed, revision, corrects)

    def _forget(self, key: Any, session: OneSession) -> None:
        sessions = self._sessions[key]
        sessions.remove(session)
        self._count -= 1
        self.weight_bytes -= self._weight(key, session)
        if not sessions:
            del self._sessions[key]

    def _weight(self, key: Any, session: OneSession) -> int:
        return self._layout.weigh({key: session.window})

    # It is saved and restored.

    @property
    def saved_as(self) -> Any:
        return list[tuple[int, int, self._layout.saved_as]]  # type: ignore[name-defined]

    def changed_rows(self) -> Iterator[Row]:
        changed, self._changed = self._changed, {}
        return rows_of({0: changed})

    def all_rows(self) -> Iterator[Row]:
        return rows_of({0: self._sessions})

    def restore(self, rows: Sequence[Row], forgotten: int) -> None:
        for _, items in rows:
            for key, saved in items:
                kept = [OneSession(start, end, Window(*window)) for start, end, window in saved if end > forgotten]
                self._sessions[key] = kept

    def restored(self, watermark: int) -> None:
        self._sessions = {key: sessions for key, sessions in self._sessions.items() if sessions}
        for key, sessions in self._sessions.items():
            for one in sessions:
                self._count += 1
                self.weight_bytes += self._weight(key, one)
                due = self._closed if one.end <= watermark else self._open
                heapq.heappush(due, (one.end, next(self._ties), key))
