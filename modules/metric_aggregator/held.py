"""The windows of one aggregation over one partition: what stays in memory while the partition is held.

bounds → where → watermark → windows → close → save
"""

from __future__ import annotations

import decimal
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from contracts.errors import Blocked
from contracts.metric_aggregator import Reason
from modules.metric_aggregator.cells import EXACT
from modules.metric_aggregator.instant import BEGINNING, instant, micros, span
from modules.metric_aggregator.journal import Header, Journal, Save, header_of
from modules.metric_aggregator.plan import Plan
from modules.metric_aggregator.store import Fit, Overweight
from modules.metric_aggregator.told import Aside, Told
from modules.metric_aggregator.watermark import Watermark

_FIRST = datetime(1, 1, 1, tzinfo=UTC) + timedelta(days=800)
_LAST = datetime(9999, 12, 31, tzinfo=UTC) - timedelta(days=800)
"""Windows around these would begin or end where there are no dates any more."""

Events = list[msgspec.Struct]
Times = list[datetime]


class Held:
    """Made of what was saved. After an exception it is of no use any more: it is made anew."""

    def __init__(self, plan: Plan, *, now: datetime, saved: Mapping[str, bytes] | None = None) -> None:
        self._plan = plan
        self._watermark = Watermark(plan.aggregation, now)
        self._windows = plan.windows()
        self._journal = Journal()
        self._restore(self._journal.read(saved or {}))

    # What comes.

    def add(self, events: Sequence[msgspec.Struct], now: datetime) -> Told:
        """A batch, in the order of its partition. Raises `Blocked` where the windows become too many."""
        told = Told()
        with decimal.localcontext(EXACT):
            try:
                self._add(*self._sound(list(events), now, told), told)
                told.aside = [one for one in told.aside if self._plan.passes is None or self._plan.passes(one.event)]
            except Overweight as error:
                raise self._overweight(error) from None
            self._watermark.heard(now)
            self._close(told)
        return told

    def let_pass(self, now: datetime) -> Told:
        """Nothing has come, and the clock is at `now`."""
        told = Told()
        if self._watermark.let_pass(now):
            with decimal.localcontext(EXACT):
                self._close(told)
        return told

    def save(self, save: Save) -> None:
        """Everything that has changed since the last call."""
        header = Header(self._plan.fingerprint, self._watermark.saved)
        changed, everything = self._windows.changed_rows(), self._windows.all_rows
        self._journal.write(save, header, changed=changed, everything=everything)

    # What is known.

    @property
    def watermark_at(self) -> datetime | None:
        """None before the first event."""
        at = self._watermark.at
        return None if at == BEGINNING else _datable(at)

    @property
    def open_windows(self) -> int:
        """Those that are kept: open, or closed and still to be corrected."""
        return len(self._windows)

    @property
    def weight_bytes(self) -> int:
        return self._windows.weight_bytes

    @property
    def saved_bytes(self) -> int:
        return self._journal.saved_bytes

    # The steps.

    def _sound(self, events: Events, now: datetime, told: Told) -> tuple[Events, Times]:
        """The events whose times and keys can be used."""
        times = list(map(self._plan.time_of, events))
        low, high = self._bounds(now)
        if times and (min(times) < low or max(times) > high):
            reasons: list[Reason | None] = ["past" if at < low else "future" if at > high else None for at in times]
            events, times = _without(reasons, events, times, told)
        if (refuses := self._plan.refuses_key) is not None:
            keys = list(map(self._plan.key_of, events))
            if refused := {key for key in set(keys) if refuses(key)}:
                events, times = _without(["key" if key in refused else None for key in keys], events, times, told)
        return events, times

    def _bounds(self, now: datetime) -> tuple[datetime, datetime]:
        time = self._plan.time
        low, high = _FIRST, _LAST
        if time.max_past_s is not None and time.max_past_s < (now - low).total_seconds():
            low = now - timedelta(seconds=time.max_past_s)
        if time.max_future_s < (high - now).total_seconds():
            high = now + timedelta(seconds=time.max_future_s)
        return low, high

    def _add(self, events: Events, times: Times, told: Told) -> None:
        if not times:
            return
        late, passes = self._behind(times), self._plan.passes
        self._watermark.reach(micros(max(times)))
        if not late and passes is None:
            self._windows.add(events, times)
            return
        behind = {number for number, _, _ in late}
        counting = {number for number, event in enumerate(events) if passes is None or passes(event)}
        timely = sorted(counting - behind)
        self._windows.add([events[number] for number in timely], [times[number] for number in timely])
        for number, watermark, forgotten in late:
            if number in counting:
                fit = self._windows.add_late(events[number], times[number], watermark, forgotten)
                told.corrected += fit is Fit.LATE
                if fit is Fit.TOO_LATE:
                    told.aside.append(Aside("late", times[number], events[number]))

    def _behind(self, times: Times) -> list[tuple[int, int, int]]:
        """The numbers of those that lay behind the watermark when they came, with what it was then and up to where
        windows were forgotten. What is ahead of all before it needs no more than that to be told."""
        watermark, disorder = self._watermark, span(self._plan.aggregation.disorder_s)
        top = _datable(max(watermark.reached, watermark.at + disorder))
        allowed = timedelta(microseconds=disorder)
        found = []
        for number, at in enumerate(times):
            if at > top:
                top = at
            elif at < top - allowed:
                found.append((number, *watermark.after(micros(top))))
        return found

    def _close(self, told: Told) -> None:
        watermark = self._watermark
        told.results = self._windows.close(watermark.at, watermark.forgotten, changes=self._plan.aggregation.to.changes)
        told.retracted = self._windows.retracted()

    def _restore(self, pieces: Sequence[bytes]) -> None:
        if not pieces:
            return
        header = header_of(pieces[-1])
        if header.made_for != self._plan.fingerprint:
            name = self._plan.aggregation.name
            raise Blocked(
                f"aggregation {name} was changed since its windows were saved (event, key, window, measures, or columns"
                " of the event that they are of): undo that, or give it another name, under which it begins anew"
            )
        self._watermark.restore(header.time)
        for piece in pieces:
            _, rows = self._plan.decoder.decode(piece)
            self._windows.restore(rows, self._watermark.forgotten)
        self._windows.restored(self._watermark.at)

    def _overweight(self, error: Overweight) -> Blocked:
        aggregation = self._plan.aggregation
        return Blocked(
            f"aggregation {aggregation.name}: {error.windows} windows of one partition weigh {error.weight_bytes}"
            f" bytes, max_state_bytes is {aggregation.max_state_bytes}: raise it, make windows or lateness_s shorter,"
            " or take a key with fewer values. The partition waits; nothing is lost"
        )


def _datable(at: int) -> datetime:
    """Not before there are dates."""
    return instant(max(at, micros(_FIRST)))


def _without(reasons: Sequence[Reason | None], events: Events, times: Times, told: Told) -> tuple[Events, Times]:
    """What has no reason to be put aside; the rest is."""
    kept_events, kept_times = [], []
    for reason, event, at in zip(reasons, events, times, strict=True):
        if reason is None:
            kept_events.append(event)
            kept_times.append(at)
        else:
            told.aside.append(Aside(reason, at, event))
    return kept_events, kept_times
