"""The module's own metrics, each declared once."""

from __future__ import annotations

from contracts.ports.metrics import Metric

ROWS = Metric(
    name="platform_batch_etl_rows_total",
    kind="counter",
    help="Rows read by batch_etl, by what became of them.",
    labels=("dataset", "outcome"),
)
