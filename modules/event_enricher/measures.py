"""The module's own metrics, each declared once."""

from __future__ import annotations

from contracts.ports.metrics import Metric

LOOKUPS = Metric(
    name="platform_enricher_lookups_total",
    kind="counter",
    help="Keys that were looked up, each once a batch: found in the cache, in the table, or missing there;"
    " known_missing says that the cache knew.",
    labels=("enrichment", "outcome"),
)
EVENTS = Metric(
    name="platform_enricher_events_total",
    kind="counter",
    help="Events by what became of them: sent on, put aside to be tried again, or sent to the side.",
    labels=("enrichment", "outcome"),
)
