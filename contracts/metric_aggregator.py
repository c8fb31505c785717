"""The messages of `metric_aggregator`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta

from contracts.message import Contract
from contracts.module import Expired

Reason = Literal["late", "future", "past", "key"]


class RunMetricAggregator(Contract, frozen=True, kw_only=True):
    """Keep the windows of aggregations up to date until it is stopped."""

    aggregation: Annotated[
        tuple[str, ...], Meta(description="Only these aggregations of the catalog; without any, all of them.")
    ] = ()
    reset: Annotated[
        Expired,
        Meta(
            description="Where events were deleted before they were taken: go on with the earliest that are left, with"
            " the latest, or stop that partition until you have decided."
        ),
    ] = "fail"


class WindowResult(Contract, frozen=True, kw_only=True):
    """A window as it stands: of the results of one window (key and start) the one with the highest revision counts.

    Revision 0 is the first. A later one of a window that was `closed` before is a correction. A session can get another
    start, when an earlier event or another session joins it: what stood under the old start is `retracted`.
    """

    aggregation: str
    key: Annotated[dict[str, Any], Meta(description="The key's columns by name.")]
    window_start: Annotated[datetime, Meta(tz=True)]
    window_end: Annotated[datetime, Meta(tz=True, description="The first instant that is not in the window.")]
    measures: Annotated[dict[str, Any], Meta(description="By name; decimals are text, so that no digit is lost.")]
    events: int
    closed: bool
    revision: int
    partition: int
    retracted: bool = False


class LateEvent(Contract, frozen=True, kw_only=True):
    """An event that no window took: it came too late (`late`), is out of the bounds of its time (`future`, `past`), or
    its key can't be one of a table (`key`: null, over 1000 bytes, or with a NUL in it)."""

    aggregation: str
    reason: Reason
    event_at: Annotated[datetime, Meta(tz=True)]
    watermark_at: Annotated[datetime | None, Meta(description="Up to where windows were closed in its partition.")]
    partition: int
    event: Annotated[Any, Meta(description="The event itself.")]
