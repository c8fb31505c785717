"""How often a cache had what it was asked for."""

from __future__ import annotations

from contracts.metrics import CACHE_HIT_RATE
from contracts.ports.metrics import Metrics


class Lookups:
    """Since the start of this process."""

    def __init__(self, metrics: Metrics | None) -> None:
        self._metrics = metrics
        self._found = 0
        self._asked = 0

    def add(self, *, found: int, asked: int) -> None:
        """So many keys were asked for, and so many of them were there."""
        self._found += found
        self._asked += asked
        if self._metrics is not None and self._asked:
            self._metrics.set(CACHE_HIT_RATE, self._found / self._asked)
