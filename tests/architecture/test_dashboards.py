"""Dashboards show what is declared: a metric that is renamed or taken away is missed here, not at 3 a.m."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts import metrics
from contracts.ports.metrics import Metric
from modules.event_enricher import measures as enricher
from modules.metric_aggregator import measures as aggregator
from modules.stream_ingest import measures as ingest
from tests.architecture import doc_tables

DASHBOARDS = sorted((doc_tables.ROOT / "deploy" / "grafana").glob("*.json"))
EACH = pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
STREAMS = doc_tables.ROOT / "deploy" / "grafana" / "streams.json"

NAME = re.compile(r"\bplatform_[a-z0-9_]+")
GROUPED = re.compile(r"\bby \(([^)]*)\)")
SHOWN = re.compile(r"\{\{(\w+)\}\}")
OF_PROMETHEUS = {"instance", "job", "le"}
OF_HISTOGRAM = re.compile(r"_(bucket|count|sum)$")

ASKED_FOR = [
    *(metrics.BACKLOG, aggregator.WATERMARK_DELAY, aggregator.LATE_EVENTS, aggregator.WINDOWS),
    *(aggregator.STATE_BYTES, ingest.LAND_LATENCY, metrics.OUTBOX_MESSAGES, metrics.DEAD_LETTERS),
    *(metrics.DRAIN_PHASE, enricher.LOOKUPS),
]
"""What whoever runs streams has to see: lag, delay, lateness, windows, state, latency, and what went wrong."""


def declared() -> dict[str, Metric]:
    return {one.name: one for one in (*metrics.ALL, *doc_tables.module_metrics())}


def panels(path: Path) -> list[dict[str, Any]]:
    return list(json.loads(path.read_text(encoding="utf-8"))["panels"])


def targets(path: Path) -> Iterator[tuple[str, str, str]]:
    """Of each panel its title, and each query with its legend."""
    for panel in panels(path):
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"], target["legendFormat"]


def metric_of(name: str) -> Metric | None:
    known = declared()
    stem = OF_HISTOGRAM.sub("", name)
    return known.get(name) or (known[stem] if stem in known and known[stem].kind == "histogram" else None)


def test_there_are_dashboards() -> None:
    assert STREAMS in DASHBOARDS


@EACH
def test_every_metric_is_declared_and_asked_for_as_what_it_is(path: Path) -> None:
    for title, query, legend in targets(path):
        names = NAME.findall(query)
        assert names, f"{title}: {query} names no metric of ours"
        for name in names:
            metric = metric_of(name)
            assert metric is not None, f"{title}: {name} is not declared"
            grouped = {label.strip() for group in GROUPED.findall(query) for label in group.split(",")}
            labels = {*metric.labels, *OF_PROMETHEUS}
            assert grouped <= labels, f"{title}: {name} has no label {', '.join(grouped - labels)}"
            assert set(SHOWN.findall(legend)) <= (grouped or labels), f"{title}: {legend} shows what the query has not"
            if metric.kind == "counter":
                assert re.search(rf"\b(rate|increase)\({name}\[", query), f"{title}: {name} only ever rises"
            if metric.kind == "histogram":
                assert name.endswith("_bucket"), f"{title}: a quantile is one of buckets"
                assert "le" in grouped, f"{title}: a quantile is one of buckets"


@EACH
def test_panels_are_told_apart_and_say_what_they_show(path: Path) -> None:
    found = panels(path)
    assert len({panel["id"] for panel in found}) == len(found)
    assert len({panel["title"] for panel in found}) == len(found)
    for panel in found:
        if panel["type"] != "row":
            assert panel["description"].endswith("."), panel["title"]
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
    for one, other in itertools.combinations([panel["gridPos"] for panel in found], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, f"{one} and {other} overlap"


def test_what_streams_are_asked_for_is_on_their_dashboard() -> None:
    shown = {
        metric.name for _, query, _ in targets(STREAMS) for name in NAME.findall(query) if (metric := metric_of(name))
    }
    assert {metric.name for metric in ASKED_FOR} <= shown


def test_every_metric_of_a_module_of_streams_that_has_an_outcome_is_on_it() -> None:
    """Who adds one thinks of the dashboard."""
    shown = " ".join(query for _, query, _ in targets(STREAMS))
    for measures in (enricher, ingest, aggregator):
        for metric in vars(measures).values():
            if isinstance(metric, Metric) and {"outcome", "reason"} & set(metric.labels):
                assert metric.name in shown, f"{metric.name} is on no panel"
