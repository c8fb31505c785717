"""How far the event time of a partition has come: what closes windows, and lets them be forgotten."""

from __future__ import annotations

from datetime import datetime

from contracts.aggregation import Aggregation
from modules.metric_aggregator.instant import BEGINNING, micros, span


class Watermark:
    """`at` is the watermark: every window that ends by it is closed. Windows that end by `forgotten` can't be corrected
    any more. Neither goes back, also where a new declaration has other bounds than the one before. All are in
    microseconds; `reached` is the greatest event time, `BEGINNING` before the first event.

    On a quiet partition `reached` goes on with the clock, from `idle_s` after the last events; that time begins anew
    with each holder, since what was not looked at was not quiet.
    """

    __slots__ = ("_disorder", "_idle", "_lateness", "_quiet_until", "at", "forgotten", "reached")

    def __init__(self, aggregation: Aggregation, now: datetime) -> None:
        self._disorder = span(aggregation.disorder_s)
        self._lateness = span(aggregation.lateness_s)
        self._idle = None if aggregation.idle_s is None else round(aggregation.idle_s * 1_000_000)
        self.reached = self.at = self.forgotten = BEGINNING
        self._quiet_until = 0
        self.heard(now)

    def heard(self, now: datetime) -> None:
        """Events came."""
        if self._idle is not None:
            self._quiet_until = micros(now) + self._idle

    def reach(self, at: int) -> None:
        """An event happened at `at`."""
        if at > self.reached:
            self.reached = at
            self.at, self.forgotten = self.after(at)

    def after(self, reached: int) -> tuple[int, int]:
        """The watermark, and up to where windows are forgotten, once that is reached."""
        at = max(self.at, reached - self._disorder)
        return at, max(self.forgotten, at - self._lateness)

    def let_pass(self, now: datetime) -> bool:
        """The clock is at `now`, and nothing has come. Whether the event time went on."""
        if self._idle is None or self.reached == BEGINNING:
            return False
        passed = micros(now) - self._quiet_until
        if passed <= 0:
            return False
        self._quiet_until += passed
        self.reach(self.reached + passed)
        return True

    @property
    def saved(self) -> tuple[int, int, int]:
        return self.reached, self.at, self.forgotten

    def restore(self, saved: tuple[int, int, int]) -> None:
        self.reached, self.at, self.forgotten = saved
