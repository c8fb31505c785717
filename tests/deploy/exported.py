"""What can be asked for: the series of a worker's /metrics, and what rules record of them."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import yaml

from adapters.metrics.prometheus import PrometheusMetrics
from contracts import metrics
from contracts.ports.metrics import Metric
from tests.architecture import doc_tables
from tests.deploy import promql
from tests.deploy.promql import OF_TARGET, Series, labels_of

RULES = doc_tables.ROOT / "deploy" / "prometheus" / "rules"
OF_PROMETHEUS = {
    "up": Series(kind="gauge", labels=OF_TARGET),
    "ALERTS": Series(kind="gauge", labels=frozenset({"alertname", "alertstate", "severity"}) | OF_TARGET),
}


def declared() -> dict[str, Metric]:
    """Ours, by name: those of the runtime and of the modules."""
    return {one.name: one for one in (*metrics.ALL, *doc_tables.module_metrics())}


def series() -> dict[str, Series]:
    """By name: ours, those of the process as the adapter exports them, and Prometheus's own."""
    found = dict(OF_PROMETHEUS) | of_process()
    for metric in declared().values():
        labels = frozenset(metric.labels) | OF_TARGET
        if metric.kind == "histogram":
            found[f"{metric.name}_bucket"] = Series(kind="counter", labels=labels | {"le"})
            found[f"{metric.name}_count"] = found[f"{metric.name}_sum"] = Series(kind="counter", labels=labels)
        else:
            found[metric.name] = Series(kind=metric.kind, labels=labels)
    return found


def of_process() -> dict[str, Series]:
    """Memory, processor and the like, read from an exposition: the client library names them."""
    from prometheus_client.parser import text_string_to_metric_families

    found = {}
    families = text_string_to_metric_families(PrometheusMetrics().exposition().decode())
    for family in families:
        if not family.name.startswith("platform_"):
            for sample in family.samples:
                kind: promql.Kind = "counter" if family.type == "counter" else "gauge"
                found[sample.name] = Series(kind=kind, labels=frozenset(sample.labels) | OF_TARGET)
    return found


def rules(path: Path) -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


@functools.cache
def known() -> dict[str, Series]:
    """With what is recorded, each of what was there before it. Raises `Wrong` for a rule that asks for what is not."""
    found = series()
    for rule in rules(RULES / "recording.yml"):
        found[rule["record"]] = Series(kind="gauge", labels=labels_of(rule["expr"], found))
    return found
