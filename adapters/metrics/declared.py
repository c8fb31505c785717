"""What every implementation checks alike: a metric is used as it is declared."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from contracts.ports.metrics import Metric, MetricKind

_VERBS = {"counter": "add", "gauge": "set", "histogram": "observe"}
_PER_SECOND = {"_ms": 1000.0, "_seconds": 1.0}


def require(metric: Metric, kind: MetricKind, labels: Mapping[str, str]) -> None:
    """Raises `ValueError` when the metric is of another kind or its labels are not exactly the declared ones."""
    if metric.kind != kind:
        raise ValueError(f"{metric.name} is a {metric.kind}: use {_VERBS[metric.kind]}(), not {_VERBS[kind]}()")
    if len(labels) != len(metric.labels) or any(name not in labels for name in metric.labels):
        came, wanted = ", ".join(labels) or "none", ", ".join(metric.labels) or "none"
        raise ValueError(f"{metric.name}: labels {came} were given, it is declared with {wanted}")


class Timer:
    """Observes how long its block took, also when the block raises."""

    __slots__ = ("_began", "_observe", "_per_second")

    def __init__(self, metric: Metric, observe: Callable[[float], None]) -> None:
        for ending, per_second in _PER_SECOND.items():
            if metric.name.endswith(ending):
                self._per_second = per_second
                break
        else:
            raise ValueError(f"{metric.name} can't be timed: its name ends neither in _ms nor in _seconds")
        self._observe = observe
        self._began = 0.0

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._observe((time.perf_counter() - self._began) * self._per_second)
