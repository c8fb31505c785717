"""What a statement took, for metrics and traces."""

from __future__ import annotations

from contracts.metrics import DB_QUERY_DURATION
from contracts.ports.metrics import Metrics
from contracts.ports.traces import Traces

SQL_SHOWN = 2_000
"""Characters of a statement in a trace; it has no values in it."""


def tell(
    metrics: Metrics | None,
    traces: Traces | None,
    *,
    system: str,
    operation: str,
    sql: str,
    took_s: float,
    error: str,
) -> None:
    """`system` is the database, as OpenTelemetry calls it; `error` is empty when there was none."""
    if metrics is not None:
        metrics.observe(DB_QUERY_DURATION, took_s * 1000, operation=operation)
    if traces is not None:
        about = {"db.system.name": system, "db.query.text": sql[:SQL_SHOWN]}
        traces.ended(f"{system} {operation}", kind="client", took_s=took_s, about=about, error=error)
