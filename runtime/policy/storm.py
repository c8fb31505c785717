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
        self._pauses = 0

    def ended(self, *, well: bool) -> float | None:
        """Seconds to pause the route for, or None. A trial that goes well begins everything anew."""
        self._ends.append(well)
        enough = TRIAL if self._pauses else WINDOW
        if len(self._ends) < enough:
            return None
        bad = self._ends.count(False)
        if bad < SHARE * len(self._ends):
            if len(self._ends) == WINDOW:
                self._pauses = 0
            return None
        self._pauses += 1
        self._ends.clear()
        return min(MAX_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self._pauses - 1, 16))
