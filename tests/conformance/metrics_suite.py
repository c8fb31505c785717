"""What every Metrics promises."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from prometheus_client.parser import text_string_to_metric_families

from contracts.ports.metrics import Metric, Metrics

COUNTED = Metric(name="suite_counted_total", kind="counter", help="Counted.", labels=("address", "outcome"))
LEVEL = Metric(name="suite_level_ratio", kind="gauge", help="A level.")
TOOK = Metric(name="suite_took_ms", kind="histogram", help="Took.", labels=("address",), buckets=(1, 10, 100))
TOOK_S = Metric(name="suite_took_seconds", kind="histogram", help="Took.", buckets=(1, 10))


def exercise_metrics(make: Callable[[], Metrics], *, keeps: bool) -> None:
    """Run every promise of the port; `keeps` says whether the implementation keeps what it is told."""
    _keeps_or_forgets(make(), keeps)
    _times(make(), keeps)
    _is_not_broken_by_values(make(), keeps)
    _refuses_what_is_not_declared(make())
    _is_alone(make(), make())


def _keeps_or_forgets(metrics: Metrics, keeps: bool) -> None:
    metrics.add(COUNTED, address="a", outcome="done")
    metrics.add(COUNTED, 2.5, outcome="done", address="a")
    metrics.add(COUNTED, address='odd "\\\n', outcome="dead")
    metrics.set(LEVEL, 0.25)
    metrics.set(LEVEL, 0.75)
    for value in (0.5, 5, 5000):
        metrics.observe(TOOK, value, address="a")
    if not keeps:
        assert metrics.exposition() == b""
        return
    samples = _samples(metrics)
    assert samples["suite_counted_total", ("a", "done")] == 3.5
    assert samples["suite_counted_total", ('odd "\\\n', "dead")] == 1
    assert samples["suite_level_ratio", ()] == 0.75
    assert samples["suite_took_ms_count", ("a",)] == 3
    assert samples["suite_took_ms_sum", ("a",)] == 5005.5
    assert samples["suite_took_ms_bucket", ("a", "10.0")] == 2
    assert samples["suite_took_ms_bucket", ("a", "+Inf")] == 3


def _times(metrics: Metrics, keeps: bool) -> None:
    with metrics.timer(TOOK, address="a"):
        pass
    with pytest.raises(KeyError), metrics.timer(TOOK, address="a"):
        raise KeyError("the block's own error goes through")
    with metrics.timer(TOOK_S):
        pass
    if keeps:
        samples = _samples(metrics)
        assert samples["suite_took_ms_count", ("a",)] == 2
        assert 0 < samples["suite_took_ms_sum", ("a",)] < 10_000
        assert 0 < samples["suite_took_seconds_sum", ()] < 10
    with pytest.raises(ValueError, match="neither in _ms nor in _seconds"):
        metrics.timer(Metric(name="suite_size_bytes", kind="histogram", help="Size."))


def _is_not_broken_by_values(metrics: Metrics, keeps: bool) -> None:
    for value in (math.nan, -math.inf, -1.0, math.inf):
        metrics.add(COUNTED, value, address="a", outcome="done")
    for value in (math.nan, math.inf):
        metrics.set(LEVEL, value)
        metrics.observe(TOOK, value, address="a")
    metrics.set(LEVEL, -5)
    if keeps:
        samples = _samples(metrics)
        assert samples.get(("suite_counted_total", ("a", "done")), 0) == 0
        assert samples["suite_level_ratio", ()] == -5
        assert samples.get(("suite_took_ms_count", ("a",)), 0) == 0


def _refuses_what_is_not_declared(metrics: Metrics) -> None:
    too_many = {"address": "a", "outcome": "b", "more": "c"}
    mistaken: list[dict[str, str]] = [{}, {"address": "a"}, {"address": "a", "kind": "x"}, too_many]
    for wrong in mistaken:
        with pytest.raises(ValueError, match="declared with address, outcome"):
            metrics.add(COUNTED, 1.0, **wrong)
    with pytest.raises(ValueError, match="labels address were given"):
        metrics.set(LEVEL, 1, address="a")
    with pytest.raises(ValueError, match=r"is a gauge: use set\(\), not add\(\)"):
        metrics.add(LEVEL)
    with pytest.raises(ValueError, match="is a counter"):
        metrics.observe(COUNTED, 1, address="a", outcome="b")


def _is_alone(one: Metrics, other: Metrics) -> None:
    one.set(LEVEL, 3)
    assert b"suite_level_ratio" not in other.exposition()


def _samples(metrics: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    text = metrics.exposition().decode()
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
