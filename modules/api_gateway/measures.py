"""The module's own metrics, each declared once."""

from __future__ import annotations

from contracts.ports.metrics import Metric

READS = Metric(
    name="platform_api_reads_total",
    kind="counter",
    help="Answers of the read API: out of the cache, read from the database, streamed from it, or nothing new (304).",
    labels=("resource", "outcome"),
)
READ_DURATION = Metric(
    name="platform_api_read_duration_ms",
    kind="histogram",
    help="What a read of the database took, where the cache had nothing.",
    labels=("resource",),
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000),
)
