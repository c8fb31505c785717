"""Metrics that nobody reads."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from adapters.metrics.declared import Timer, require
from contracts.ports.metrics import Metric


class NoopMetrics:
    """Keeps nothing. Wrong labels are refused all the same, so that a fault doesn't wait for production."""

    def add(self, metric: Metric, value: float = 1.0, **labels: str) -> None:
        """Does nothing."""
        require(metric, "counter", labels)

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        """Does nothing."""
        require(metric, "gauge", labels)

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        """Does nothing."""
        require(metric, "histogram", labels)

    def timer(self, metric: Metric, **labels: str) -> AbstractContextManager[None]:
        """Measures nothing."""
        require(metric, "histogram", labels)
        Timer(metric, lambda _: None)
        return nullcontext()

    def exposition(self) -> bytes:
        """Empty."""
        return b""
