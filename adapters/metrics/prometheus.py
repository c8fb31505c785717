"""Metrics for Prometheus, in a registry of their own."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from typing import Any

from adapters.metrics.declared import Timer, require
from contracts import metrics
from contracts.ports.metrics import Metric, MetricKind

MOST_SERIES = 1000
"""Label sets kept of one metric; what comes after shares one whose labels say `(other)`."""

_OTHER = "(other)"


class PrometheusMetrics:
    """Every declared metric is there from the start, with the process's own (CPU, memory, files, collections).

    Several can live in one process: nothing is registered globally. Thread-safe. A value that isn't a finite number,
    or that would take a counter down, is left out.
    """

    def __init__(self, *, process: bool = True) -> None:
        from prometheus_client import CollectorRegistry, disable_created_metrics

        # Else each counter and histogram has a series more, which nobody reads.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry(auto_describe=False)
        self._families: dict[str, tuple[Metric, Any]] = {}
        self._series: dict[tuple[Any, ...], Any] = {}
        self._count: dict[str, int] = {}
        if process:
            from prometheus_client import GCCollector, PlatformCollector, ProcessCollector

            for collector in (ProcessCollector, PlatformCollector, GCCollector):
                collector(registry=self._registry)
        for metric in metrics.ALL:
            self._family(metric)

    def add(self, metric: Metric, value: float = 1.0, **labels: str) -> None:
        """A counter goes up by `value`."""
        if value >= 0 and value != math.inf:
            self._one("counter", metric, labels).inc(value)

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        """A gauge is `value` now."""
        if math.isfinite(value):
            self._one("gauge", metric, labels).set(value)

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        """A histogram saw `value`."""
        if math.isfinite(value):
            self._one("histogram", metric, labels).observe(value)

    def timer(self, metric: Metric, **labels: str) -> AbstractContextManager[None]:
        """Observes how long its block took."""
        series = self._one("histogram", metric, labels)
        return Timer(metric, series.observe)

    def exposition(self) -> bytes:
        """All of them in the Prometheus text format."""
        from prometheus_client import generate_latest

        return generate_latest(self._registry)

    def _one(self, kind: MetricKind, metric: Metric, labels: dict[str, str]) -> Any:
        # Call sites give their labels in one order, so the key needs no sorting to be found again.
        key = (kind, metric.name, *labels.items())
        try:
            return self._series[key]
        except KeyError:
            return self._new_series(kind, metric, labels, key)

    def _new_series(self, kind: MetricKind, metric: Metric, labels: dict[str, str], key: tuple[Any, ...]) -> Any:
        require(metric, kind, labels)
        family = self._family(metric)
        if not labels:
            self._series[key] = family
            return family
        if self._count[metric.name] >= MOST_SERIES:
            return family.labels(*(_OTHER for _ in metric.labels))
        self._count[metric.name] += 1
        series = self._series[key] = family.labels(*(str(labels[name]) for name in metric.labels))
        return series

    def _family(self, metric: Metric) -> Any:
        if metric.name in self._families:
            declared, known = self._families[metric.name]
            if declared != metric:
                raise ValueError(f"{metric.name} is declared twice, and differently: declare it once")
            return known
        from prometheus_client import Counter, Gauge, Histogram

        family: Any
        if metric.kind == "histogram":
            buckets = metric.buckets or Histogram.DEFAULT_BUCKETS
            family = Histogram(metric.name, metric.help, metric.labels, registry=self._registry, buckets=buckets)
        elif metric.kind == "counter":
            family = Counter(metric.name, metric.help, metric.labels, registry=self._registry)
        else:
            family = Gauge(metric.name, metric.help, metric.labels, registry=self._registry)
        self._families[metric.name] = (metric, family)
        self._count[metric.name] = 0
        return family
