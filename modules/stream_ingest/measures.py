"""The module's own metrics, each declared once."""

from __future__ import annotations

from contracts.ports.metrics import Metric

EVENTS = Metric(
    name="platform_ingest_events_total",
    kind="counter",
    help="Events that stream_ingest took, by what became of them: landed, quarantined, or dropped by policy.",
    labels=("event", "outcome"),
)
LAND_LATENCY = Metric(
    name="platform_ingest_land_latency_seconds",
    kind="histogram",
    help="How old the newest event of a batch was, by its own time, when the batch was landed.",
    labels=("event",),
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 86_400),
)
LAKE_FILES = Metric(
    name="platform_ingest_lake_files_total",
    kind="counter",
    help="Files written to lakes.",
    labels=("event",),
)
LAKE_BYTES = Metric(
    name="platform_ingest_lake_bytes_total",
    kind="counter",
    help="Bytes of the files written to lakes.",
    labels=("event",),
)
