"""A waiting job's place in the line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from contracts.ports.ledger import AGEING_S

PRIORITY_BOUND = 1_000_000
"""Priorities are kept within ± this: almost two years of waiting, and far from the end of any calendar."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def rank_us(recorded_at: datetime, not_before: datetime, priority: int) -> int:
    """Microseconds since 1970 of `greatest(recorded_at, not_before) - priority * AGEING_S`: the lowest goes first.

    It is fixed while the job waits, which is what makes ageing free: whoever waits longer is overtaken only by those
    whose priority is higher by more points than the minutes that they came later.
    """
    return (max(recorded_at, not_before) - _EPOCH) // _MICROSECOND - bounded(priority) * int(AGEING_S * 1_000_000)


def bounded(priority: int) -> int:
    """The priority as it is kept."""
    return priority if -PRIORITY_BOUND <= priority <= PRIORITY_BOUND else PRIORITY_BOUND * (1 if priority > 0 else -1)
