"""What windows are measured with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
STEP = timedelta(milliseconds=3)
"""Between one reading and the next: 20,000 are a minute."""
KEYS = 1000


class Reading(msgspec.Struct, frozen=True, gc=False):
    """A value of a sensor; what is wanted is their count, sum and average by sensor and minute."""

    sensor: str
    at: datetime
    value: float


def reading(number: int) -> Reading:
    return Reading(sensor=f"s{number % KEYS}", at=BEGIN + number * STEP, value=float(number % 97))
