"""Messages to rows: all at once where every one is good, one by one where any is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any

import msgspec

from contracts.event import Event, EventTime, struct_of
from contracts.quarantine import Reason
from modules.stream_ingest.verdict import REFUSALS, Verdicts

NUL = b"\\u0000"
"""How JSON writes the one character that a text of PostgreSQL can't have."""
_LAST = datetime.max.replace(tzinfo=UTC)
_FIRST = datetime.min.replace(tzinfo=UTC)


class Refused(msgspec.Struct, frozen=True):
    """A message that is no row: its place in the batch, and why."""

    at: int
    raw: bytes
    reason: Reason


class Taken(msgspec.Struct):
    """What became of a batch: `rows` and, beside them, the messages that they were (`raws`)."""

    rows: list[Any]
    raws: Sequence[bytes]
    refused: list[Refused] = msgspec.field(default_factory=list)
    dropped: int = 0


class Intake:
    """Decodes and checks the messages of one event."""

    def __init__(self, event: Event) -> None:
        self.event = event
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(struct_of(event)).decode
        self._verdicts = Verdicts(event.columns)
        self.time_of: Callable[[Any], datetime] | None = attrgetter(event.time.column) if event.time else None

    def take(self, batch: Sequence[bytes], now: datetime) -> Taken:
        """Refuses what doesn't decode and what lies out of the bounds of event time as of `now`."""
        earliest, latest = bounds(self.event.time, now)
        try:
            rows = list(map(self._decode, batch))
        except REFUSALS:
            return self._one_by_one(batch, earliest, latest)
        if self._all_within(rows, earliest, latest) and NUL not in b"\n".join(batch):
            return Taken(rows, batch)
        return self._one_by_one(batch, earliest, latest)

    def again(self, batch: Sequence[bytes]) -> Taken:
        """Messages that were taken before: their time was judged then."""
        try:
            return Taken(list(map(self._decode, batch)), batch)
        except REFUSALS:
            return self._one_by_one(batch, _FIRST, _LAST)

    def _all_within(self, rows: Sequence[Any], earliest: datetime, latest: datetime) -> bool:
        if self.time_of is None or not rows:
            return True
        times = list(map(self.time_of, rows))
        return earliest <= min(times) and max(times) <= latest

    def _one_by_one(self, batch: Sequence[bytes], earliest: datetime, latest: datetime) -> Taken:
        raws: list[bytes] = []
        taken = Taken([], raws)
        for at, raw in enumerate(batch):
            try:
                row = self._decode(raw)
            except REFUSALS as error:
                taken.refused.append(Refused(at, raw, self._verdicts.reason(error)))
                continue
            if NUL in raw and (reason := self._nul(row)) is not None:
                taken.refused.append(Refused(at, raw, reason))
            elif (reason := self._untimely(row, earliest, latest)) is None:
                taken.rows.append(row)
                raws.append(raw)
            elif self.event.time is not None and self.event.time.otherwise == "drop":
                taken.dropped += 1
            else:
                taken.refused.append(Refused(at, raw, reason))
        return taken

    def _nul(self, row: Any) -> Reason | None:
        for column in self.event.columns:
            if _has_nul(getattr(row, column.name)):
                return Reason(column.name, "not storable", "has a NUL character, which no text of PostgreSQL can have")
        return None

    def _untimely(self, row: Any, earliest: datetime, latest: datetime) -> Reason | None:
        time, time_of = self.event.time, self.time_of
        if time is None or time_of is None:
            return None
        if time_of(row) > latest:
            why = f"is after {latest.isoformat()}, the last instant that was allowed then (max_future_s)"
            return Reason(time.column, "too far in the future", why)
        if time_of(row) < earliest:
            why = f"is before {earliest.isoformat()}, the first instant that was allowed then (max_past_s)"
            return Reason(time.column, "too far in the past", why)
        return None


def bounds(time: EventTime | None, now: datetime) -> tuple[datetime, datetime]:
    """The first and the last event time that pass at `now`."""
    if time is None:
        return _FIRST, _LAST
    earliest = _FIRST if time.max_past_s is None else _shifted(now, -time.max_past_s, _FIRST)
    return earliest, _shifted(now, time.max_future_s, _LAST)


def _shifted(now: datetime, by_s: float, otherwise: datetime) -> datetime:
    try:
        return now + timedelta(seconds=by_s)
    except OverflowError:
        return otherwise


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_has_nul(name) or _has_nul(part) for name, part in value.items())
    return isinstance(value, list) and any(map(_has_nul, value))
