"""Metrics that a test can read back."""

from __future__ import annotations

import math
from collections import deque
from contextlib import AbstractContextManager

from adapters.metrics.declared import Timer
from adapters.metrics.prometheus import PrometheusMetrics
from contracts.ports.metrics import Metric

MOST_OBSERVATIONS = 1000
"""Values kept of each histogram's series; older ones are forgotten."""

_Series = tuple[str, tuple[tuple[str, str], ...]]


class MemoryMetrics:
    """Keeps the numbers, to be read by `value` and `observations`; exposes them like `prometheus` does."""

    def __init__(self) -> None:
        self._exposed = PrometheusMetrics(process=False)
        self._values: dict[_Series, float] = {}
        self._observations: dict[_Series, deque[float]] = {}

    def add(self, metric: Metric, value: float = 1.0, **labels: str) -> None:
        """A counter goes up by `value`."""
        self._exposed.add(metric, value, **labels)
        if not 0 <= value < math.inf:
            return
        series = _series(metric, labels)
        self._values[series] = self._values.get(series, 0.0) + value

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        """A gauge is `value` now."""
        self._exposed.set(metric, value, **labels)
        if not math.isfinite(value):
            return
        self._values[_series(metric, labels)] = value

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        """A histogram saw `value`."""
        self._exposed.observe(metric, value, **labels)
        if not math.isfinite(value):
            return
        self._observations.setdefault(_series(metric, labels), deque(maxlen=MOST_OBSERVATIONS)).append(value)

    def timer(self, metric: Metric, **labels: str) -> AbstractContextManager[None]:
        """Observes how long its block took."""
        return Timer(metric, lambda value: self.observe(metric, value, **labels))

    def exposition(self) -> bytes:
        """All of them in the Prometheus text format."""
        return self._exposed.exposition()

    def value(self, metric: Metric, **labels: str) -> float:
        """What a counter or gauge with exactly these labels is; 0 when it was never touched."""
        return self._values.get(_series(metric, labels), 0.0)

    def total(self, metric: Metric, **labels: str) -> float:
        """The sum over every series of the metric that has (at least) these labels."""
        wanted = set(labels.items())
        return sum(
            value for (name, given), value in self._values.items() if name == metric.name and wanted <= set(given)
        )

    def observations(self, metric: Metric, **labels: str) -> list[float]:
        """What a histogram with exactly these labels saw, oldest first, at most `MOST_OBSERVATIONS`."""
        return list(self._observations.get(_series(metric, labels), ()))


def _series(metric: Metric, labels: dict[str, str]) -> _Series:
    return metric.name, tuple(sorted(labels.items()))
