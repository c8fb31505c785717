"""The module's own metrics, each declared once."""

from __future__ import annotations

from contracts.ports.metrics import Metric

RESULTS = Metric(
    name="platform_aggregation_results_total",
    kind="counter",
    help="Results of windows, by what they tell: closed (for the first time), corrected (after that), changed (still"
    " open), or retracted (a session that has another start now).",
    labels=("aggregation", "kind"),
)
LATE_EVENTS = Metric(
    name="platform_aggregation_late_events_total",
    kind="counter",
    help="Events that came when a window of theirs was closed: corrected (a window still took it), side (it went to the"
    " late address) or dropped.",
    labels=("aggregation", "outcome"),
)
UNUSABLE_EVENTS = Metric(
    name="platform_aggregation_unusable_events_total",
    kind="counter",
    help="Events that no window can take: their time is too far in the future or past, or their key can't be used.",
    labels=("aggregation", "reason"),
)
WATERMARK_DELAY = Metric(
    name="platform_aggregation_watermark_delay_seconds",
    kind="gauge",
    help="How far the watermark of a partition lies behind the clock.",
    labels=("aggregation", "partition"),
)
WINDOWS = Metric(
    name="platform_aggregation_windows",
    kind="gauge",
    help="Windows that are kept of a partition: open, or closed and still to be corrected.",
    labels=("aggregation", "partition"),
)
STATE_BYTES = Metric(
    name="platform_aggregation_state_bytes",
    kind="gauge",
    help="What the windows of a partition weigh in memory, about; at max_state_bytes the partition stops.",
    labels=("aggregation", "partition"),
)
SAVED_BYTES = Metric(
    name="platform_aggregation_saved_bytes",
    kind="gauge",
    help="What is saved of a partition's windows, and would be read by its next holder.",
    labels=("aggregation", "partition"),
)
