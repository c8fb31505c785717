"""What is sent: rides as they are booked, and everything that goes wrong with some of them on their way."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal

import msgspec

ZONES = ("Airport", "Docks", "Market", "Old Town", "Station", "University")
"""Those that `catalog/events/ride.yaml` allows."""

Fate = Literal["timely", "late", "too late", "future", "wrong"]
_FATES: dict[Fate, float] = {"timely": 0.92, "late": 0.04, "too late": 0.015, "future": 0.01, "wrong": 0.015}
_AGE_S: dict[Fate, tuple[float, float]] = {
    "timely": (0.0, 1.5),
    "late": (5.0, 11.0),
    "too late": (30.0, 60.0),
    "future": (-7200.0, -3600.0),
    "wrong": (0.0, 1.5),
}
"""How long before it is sent it is said to be booked; out of order, as soon as that differs."""
_SENT_TWICE = 0.02


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """A message: its id, its key and its body, and whether it is sent twice."""

    id: str
    key: str
    body: bytes
    twice: bool


class Rides:
    """The same rides for the same seed, but for their times. `run` tells those of one run from all others."""

    def __init__(self, run: str, seed: int) -> None:
        self._run = run
        self._random = random.Random(seed)  # noqa: S311 - made up anyway
        self._made = 0

    def next(self, now: datetime) -> Sent:
        """One that is sent at `now`."""
        [fate] = self._random.choices(list(_FATES), list(_FATES.values()))
        [zone] = self._random.choices(ZONES, (9, 2, 5, 4, 7, 3))
        kilometres = Decimal(self._random.randint(40, 2400)) / 100
        fare = Decimal("3.50") + (kilometres * Decimal("1.9")).quantize(Decimal("0.01"))
        age = timedelta(seconds=self._random.uniform(*_AGE_S[fate]))
        self._made += 1
        ride = {
            "ride_id": f"{self._run}-{self._made}",
            "zone": zone,
            "booked_at": now - age,
            "distance_km": kilometres,
            "fare": -fare if fate == "wrong" else fare,
        }
        twice = self._random.random() < _SENT_TWICE
        return Sent(id=str(ride["ride_id"]), key=zone, body=msgspec.json.encode(ride), twice=twice)
