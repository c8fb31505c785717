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
from modules.data_quality import measures as quality
from modules.event_enricher import measures as enricher
from modules.metric_aggregator import measures as aggregator
from modules.stream_ingest import measures as ingest
from tests.deploy import dashboards, exported, promql

DECLARED = dashboards.declared()
EACH = pytest.mark.parametrize("path", DECLARED, ids=lambda path: path.stem)
SHOWN = re.compile(r"\{\{(\w+)\}\}")

ASKED_FOR = {
    "streams": [
        *(metrics.BACKLOG, aggregator.WATERMARK_DELAY, aggregator.LATE_EVENTS, aggregator.WINDOWS),
        *(aggregator.STATE_BYTES, ingest.LAND_LATENCY, metrics.OUTBOX_MESSAGES, metrics.DEAD_LETTERS),
        *(metrics.DRAIN_PHASE, enricher.LOOKUPS),
    ],
    "overview": [metrics.MESSAGES_PROCESSED, metrics.DEAD_LETTERS, metrics.BREAKER_OPEN, metrics.DRAIN_PHASE],
    "jobs": [metrics.MESSAGES_PROCESSED, metrics.PROCESSING_DURATION, metrics.JOBS_IN_FLIGHT, metrics.RETRIES],
    "quality": [quality.CHECKS, quality.SUITE_VERDICT, quality.SUITE_SECONDS, ingest.EVENTS],
    "runtime": [
        *(metrics.LOOP_STALLS, metrics.LOOP_CRASHES, metrics.LANE_DEPTH, metrics.DB_QUERY_DURATION),
        *(metrics.CACHE_HIT_RATE, metrics.BREAKER_OPEN, metrics.UPTIME, metrics.STARTUP_TIME),
    ],
}
"""What whoever opens the page has to see."""


@pytest.fixture(scope="module")
def known() -> dict[str, promql.Series]:
    return exported.known()


def panels(path: Path) -> list[dict[str, Any]]:
    return list(json.loads(dashboards.made_from(path).read_text(encoding="utf-8"))["panels"])


def targets(path: Path) -> Iterator[tuple[str, str, str]]:
    """Of each panel its title, and each query with its legend."""
    for panel in panels(path):
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"], target["legendFormat"]


def shown_by(path: Path) -> set[str]:
    """Metrics of ours that are on a page, by name; what is recorded counts as what it is recorded of."""
    recorded = {rule["record"]: rule["expr"] for rule in exported.rules(exported.RULES / "recording.yml")}
    found, left = set(), [expr for _, expr, _ in targets(path)]
    while left:
        for name in promql.names_in(left.pop()):
            if name in recorded:
                left.append(recorded[name])
            found.add(re.sub(r"_(bucket|count|sum)$", "", name))
    return found


@EACH
def test_what_is_made_is_what_is_declared(path: Path) -> None:
    made = dashboards.made_from(path).read_text(encoding="utf-8")
    assert made == dashboards.rendered(path), "run `./task dashboards` and commit what it wrote"


def test_nothing_else_is_there() -> None:
    assert {dashboards.made_from(path) for path in DECLARED} == set(dashboards.MADE.glob("*"))
    assert set(ASKED_FOR) <= {path.stem for path in DECLARED}


@EACH
def test_every_query_asks_for_what_is_there(path: Path, known: promql.Known) -> None:
    for title, query, legend in targets(path):
        labels = promql.labels_of(query, known)
        assert set(SHOWN.findall(legend)) <= labels, f"{title}: {legend} shows what the query has not: {sorted(labels)}"


@EACH
def test_series_of_one_panel_are_told_apart(path: Path, known: promql.Known) -> None:
    """All that an aggregation is grouped by stands in the legend, so that no two lines are named alike."""
    for title, query, legend in targets(path):
        labels = promql.labels_of(query, known) - promql.OF_TARGET
        assert labels <= set(SHOWN.findall(legend)), f"{title}: the legend {legend} leaves out {sorted(labels)}"


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


@pytest.mark.parametrize("name", ASKED_FOR)
def test_what_is_asked_for_is_on_its_page(name: str) -> None:
    assert {metric.name for metric in ASKED_FOR[name]} <= shown_by(dashboards.DECLARED / f"{name}.yaml")


def test_every_metric_of_ours_is_on_some_page() -> None:
    """Who adds one thinks of the dashboards."""
    shown = set().union(*map(shown_by, DECLARED))
    assert not exported.declared().keys() - shown


def test_every_metric_of_a_module_of_streams_that_has_an_outcome_is_with_the_streams() -> None:
    shown = shown_by(dashboards.DECLARED / "streams.yaml")
    for measures in (enricher, ingest, aggregator):
        for metric in vars(measures).values():
            if isinstance(metric, Metric) and {"outcome", "reason"} & set(metric.labels):
                assert metric.name in shown, f"{metric.name} is on no panel"


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ("platform_nothing", "neither exported nor recorded"),
        ("sum by (address) (platform_drain_phase)", "no label address"),
        ("platform_drain_phase{address='x'}", "no label address"),
        ("platform_dead_letters_total", "only ever rises"),
        ("rate(platform_drain_phase[5m])", "is a gauge"),
        ("histogram_quantile(0.5, sum by (address) (rate(platform_mq_processing_duration_ms_bucket[5m])))", "by le"),
        ("sum by (address) (platform_backlog) / sum by (group) (platform_backlog)", "other labels"),
    ],
)
def test_a_query_that_is_wrong_would_be_seen(query: str, fault: str, known: promql.Known) -> None:
    with pytest.raises(promql.Wrong, match=fault):
        promql.labels_of(query, known)
