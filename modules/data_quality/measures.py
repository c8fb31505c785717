"""The module's own metrics, each declared once."""

from __future__ import annotations

from contracts.ports.metrics import Metric

CHECKS = Metric(
    name="platform_quality_checks_total",
    kind="counter",
    help="Checks that data_quality made, by how they came out.",
    labels=("suite", "verdict"),
)
SUITE_SECONDS = Metric(
    name="platform_quality_suite_duration_seconds",
    kind="histogram",
    help="How long a suite of checks took.",
    labels=("suite",),
    buckets=(0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0),
)
SUITE_VERDICT = Metric(
    name="platform_quality_suite_verdict",
    kind="gauge",
    help="How the last run of a suite that this process made came out: 0 pass, 1 warn, 2 fail.",
    labels=("suite",),
)
