"""Numbers about the process. Each metric is declared once, as a value, and named by that value."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Literal, Protocol

import msgspec

MetricKind = Literal["counter", "gauge", "histogram"]


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """`name` ends in its unit; `buckets` are for histograms, in that unit."""

    name: str
    kind: MetricKind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


class Metrics(Protocol):
    """Never blocks, never raises for a value; a label that the metric does not declare raises `ValueError`."""

    def add(self, metric: Metric, value: float = 1.0, **labels: str) -> None:
        """A counter goes up by `value`."""
        ...

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        """A gauge is `value` now."""
        ...

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        """A histogram saw `value`."""
        ...

    def timer(self, metric: Metric, **labels: str) -> AbstractContextManager[None]:
        """Observes how long its block took, in the unit that the metric's name ends in (`_ms` or `_seconds`)."""
        ...

    def exposition(self) -> bytes:
        """All of them in the Prometheus text format; empty where nothing is kept."""
        ...
