"""A storm: nearly all messages of a route fail for good. Then it is better to stop than to bury a whole topic."""

from __future__ import annotations

from collections import deque

WINDOW = 50
"""So many ends are looked at."""
SHARE = 0.9
FIRST_PAUSE_S = 30.0
MAX_PAUSE_S = 600.0
TRIAL = 10
"""After a pause so many ends decide whether it goes on."""


class Storm:
    """Hears how messages end; says how long to pause, when it is time to."""

    def __init__(self) -> None:
        self._ends: deque[bool] = deque(maxlen=WINDOW)
        self._bad = 0
        self._pauses = 0

    def ended(self, count: int = 1, *, well: bool) -> float | None:
        """Seconds to pause the route for, or None. A trial that goes well begins everything anew."""
        if well and not self._bad and not self._pauses and len(self._ends) == WINDOW:
            return None  # as it nearly always is: there is nothing to learn
        for _ in range(min(count, WINDOW)):  # more of one kind say nothing more
            if (pause_s := self._ended(well=well)) is not None:
                return pause_s
        return None

    def _ended(self, *, well: bool) -> float | None:
        ends = self._ends
        if len(ends) == WINDOW:
            self._bad -= not ends[0]  # it makes room
        ends.append(well)
        self._bad += not well
        enough = TRIAL if self._pauses else WINDOW
        if len(ends) < enough:
            return None
        if self._bad < SHARE * len(ends):
            if len(ends) == WINDOW:
                self._pauses = 0
            return None
        self._pauses += 1
        ends.clear()
        self._bad = 0
        return min(MAX_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self._pauses - 1, 16))
