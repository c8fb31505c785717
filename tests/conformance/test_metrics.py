from __future__ import annotations

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from adapters.metrics import prometheus
from adapters.metrics.memory import MemoryMetrics
from adapters.metrics.noop import NoopMetrics
from adapters.metrics.prometheus import PrometheusMetrics
from contracts import metrics as declared
from contracts.ports.metrics import Metric
from tests.conformance.metrics_suite import COUNTED, TOOK, exercise_metrics

REQUIRED = {
    "platform_module_startup_time_ms",
    "platform_module_uptime_seconds",
    "platform_db_query_duration_ms",
    "platform_mq_messages_processed_total",
    "platform_mq_processing_duration_ms",
    "platform_cache_hit_rate",
    "platform_jobs",
    "platform_jobs_in_flight",
    "platform_lane_depth",
    "platform_backlog",
    "platform_retries_total",
    "platform_dead_letters_total",
    "platform_drain_phase",
}


def test_prometheus() -> None:
    exercise_metrics(PrometheusMetrics, keeps=True)


def test_memory() -> None:
    exercise_metrics(MemoryMetrics, keeps=True)


def test_noop() -> None:
    exercise_metrics(NoopMetrics, keeps=False)


def test_each_metric_is_declared_once_and_named_by_its_unit() -> None:
    names = [metric.name for metric in declared.ALL]
    assert len(set(names)) == len(names)
    assert set(names) >= REQUIRED
    for metric in declared.ALL:
        assert re.fullmatch(r"platform_[a-z_]+", metric.name)
        assert metric.help.endswith(".")
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert bool(metric.buckets) == (metric.kind == "histogram")
        if metric.kind == "histogram":
            assert metric.name.endswith(("_ms", "_seconds", "_bytes"))
            assert list(metric.buckets) == sorted(set(metric.buckets))


def test_every_declared_metric_can_be_used_and_is_exposed() -> None:
    metrics = PrometheusMetrics(process=False)
    for metric in declared.ALL:
        use = {"counter": metrics.add, "gauge": metrics.set, "histogram": metrics.observe}[metric.kind]
        use(metric, 1.0, **dict.fromkeys(metric.labels, "x"))
    families = {family.name: family for family in text_string_to_metric_families(metrics.exposition().decode())}
    assert set(families) == {metric.name.removesuffix("_total") for metric in declared.ALL}
    for metric in declared.ALL:
        family = families[metric.name.removesuffix("_total")]
        assert family.documentation == metric.help
        assert family.type == metric.kind
        assert set(family.samples[0].labels) - {"le"} == set(metric.labels)


def test_declared_metrics_and_the_process_show_before_their_first_use() -> None:
    text = PrometheusMetrics().exposition()
    for metric in declared.ALL:
        assert f"# HELP {metric.name} ".encode() in text
    assert b"platform_drain_phase 0.0" in text
    assert b"process_cpu_seconds_total" in text
    assert b"_created" not in text


def test_one_name_cannot_be_declared_differently() -> None:
    metrics = PrometheusMetrics()
    metrics.observe(TOOK, 1, address="a")
    metrics.observe(
        Metric(name=TOOK.name, kind="histogram", help="Took.", labels=("address",), buckets=(1, 10, 100)),
        2,
        address="b",
    )
    with pytest.raises(ValueError, match="declared twice"):
        metrics.observe(Metric(name=TOOK.name, kind="histogram", help="Other.", labels=("address",)), 1, address="c")


def test_series_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus, "MOST_SERIES", 5)
    metrics = PrometheusMetrics(process=False)
    for number in range(50):
        metrics.add(COUNTED, address=f"a{number}", outcome="done")
    metrics.add(COUNTED, address="a0", outcome="done")
    lines = [line for line in metrics.exposition().decode().splitlines() if line.startswith("suite_counted_total{")]
    assert len(lines) == 6
    assert 'suite_counted_total{address="(other)",outcome="(other)"} 45.0' in lines
    assert 'suite_counted_total{address="a0",outcome="done"} 2.0' in lines


def test_memory_can_be_read() -> None:
    metrics = MemoryMetrics()
    metrics.add(COUNTED, 2, outcome="done", address="a")
    metrics.add(COUNTED, 3, address="b", outcome="done")
    metrics.add(COUNTED, 4, address="b", outcome="dead")
    metrics.observe(TOOK, 7, address="a")
    assert metrics.value(COUNTED, address="a", outcome="done") == 2
    assert metrics.value(COUNTED, address="z", outcome="done") == 0
    assert metrics.total(COUNTED, outcome="done") == 5
    assert metrics.total(COUNTED) == 9
    assert metrics.observations(TOOK, address="a") == [7]
    assert metrics.observations(TOOK, address="b") == []
    metrics.add(COUNTED, float("nan"), outcome="done", address="a")
    metrics.add(COUNTED, -1, outcome="done", address="a")
    metrics.observe(TOOK, float("inf"), address="a")
    assert metrics.value(COUNTED, address="a", outcome="done") == 2
    assert metrics.observations(TOOK, address="a") == [7]
