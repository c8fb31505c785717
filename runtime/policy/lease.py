"""When a worker renews its lease, and when it must believe that it lost it."""

from __future__ import annotations


class LeaseKeeper:
    """Instants are of the worker's own monotonic clock and are taken *before* a renewal is sent, so that the
    worker gives up no later than the database does."""

    def __init__(self, lease_s: float, joined_at: float) -> None:
        self._lease_s = lease_s
        self._renewed_at = joined_at

    def renewed(self, sent_at: float) -> None:
        """A renewal that was sent at `sent_at` was confirmed."""
        self._renewed_at = max(self._renewed_at, sent_at)

    def next_renewal_in_s(self, now: float) -> float:
        """Three tries fit into one lease."""
        return max(0.0, self._renewed_at + self._lease_s / 3 - now)

    def lost(self, now: float) -> bool:
        """The lease ran out without a confirmed renewal: others may own the work."""
        return now >= self._renewed_at + self._lease_s
