"""Whether a dependency is taken to be down: closed → open → half-open → closed (M. Nygard, "Release It!", 2007).

Closed: failures are counted, and enough of them within a while open it; one is enough when a check confirms it. Open:
nothing is tried until the wait is over. Half-open: one probe is under way, and its answer closes it or opens it again,
for longer. The wait grows with each time that it opens without having stayed closed for `calm_s` in between.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

import msgspec

State = Literal["closed", "open", "half-open"]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """`failures` within `window_s` open it. It waits at most `min(max_s, first_s * factor ** n)` before a probe, and
    at least half of that; it is calm again after `calm_s` without opening."""

    failures: int = 3
    window_s: float = 30.0
    first_s: float = 1.0
    factor: float = 2.0
    max_s: float = 30.0
    calm_s: float = 60.0


class Breaker:
    """Instants are of one monotonic clock, `random` is uniform in [0, 1)."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._failures: deque[float] = deque(maxlen=self._limits.failures)
        self._openings = 0
        self._closed_at = float("-inf")
        self.state: State = "closed"
        self.since = float("-inf")
        """When it opened first, of the times in a row; of no meaning while it is closed."""
        self.due_at = float("inf")
        """When the next probe may be made."""

    def failed(self, now: float, random: float, *, confirmed: bool = False) -> bool:
        """Something failed for want of the dependency; True when that opens it. What was begun before it opened says
        nothing new: while it is open that changes nothing."""
        if self.state != "closed":
            return False
        self._failures.append(now)
        if not confirmed and not self._too_many(now):
            return False
        if now - self._closed_at >= self._limits.calm_s:
            self._openings = 0
        self.since = now
        self._open(now, random)
        return True

    def probe(self, now: float) -> bool:
        """True: the wait is over, and the caller is to make the one probe; it tells its end by `passed`, `refused` or
        `untold`."""
        if self.state != "open" or now < self.due_at:
            return False
        self.state = "half-open"
        self.due_at = float("inf")
        return True

    def passed(self, now: float) -> None:
        """The probe found the dependency well."""
        if self.state == "half-open":
            self.state = "closed"
            self._closed_at = now
            self._failures.clear()

    def refused(self, now: float, random: float) -> None:
        """The probe found it down."""
        if self.state == "half-open":
            self._open(now, random)

    def untold(self, now: float) -> None:
        """The probe ended without an answer: another one may be made at once."""
        if self.state == "half-open":
            self.state = "open"
            self.due_at = now

    def _too_many(self, now: float) -> bool:
        full = len(self._failures) == self._limits.failures
        return full and now - self._failures[0] <= self._limits.window_s

    def _open(self, now: float, random: float) -> None:
        limits = self._limits
        # Past this exponent the power only overflows: the cap was reached long before.
        ceiling = min(limits.max_s, limits.first_s * limits.factor ** min(self._openings, 64))
        self._openings += 1
        self._failures.clear()
        self.state = "open"
        self.due_at = now + ceiling * (0.5 + random / 2)
