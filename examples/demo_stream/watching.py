"""What the worker's tables and metrics say: nothing here knows more than any other client does."""

from __future__ import annotations

import asyncio
import urllib.request
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal

import msgspec

from contracts.ports import Clock, Db

ANSWER_WAIT_S = 10.0
_WINDOWS = """
select zone, window_start, rides, takings, events, closed, revision from demo.rides_by_zone
where updated_at >= $1 order by window_start, zone
"""
_LANDED = "select count(*) from demo.rides where starts_with(ride_id, $1)"
_QUARANTINED = "select count(*) from millrace.quarantine where dataset = 'ride' and strpos(raw, $1) > 0"


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the results."""

    zone: str
    window_start: datetime
    rides: int
    takings: Decimal
    events: int
    closed: bool
    revision: int


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the rides of this run so far. `landed` and `quarantined` are stream_ingest's; `windows`, `aside`
    (too late), `unusable` and the rest are metric_aggregator's. The `watermark_at` is that of the partition that is
    furthest behind; None before the first ride."""

    at: datetime
    windows: list[Window] = []
    landed: int = 0
    quarantined: int = 0
    closed: int = 0
    corrected: int = 0
    late: int = 0
    aside: int = 0
    unusable: int = 0
    watermark_at: datetime | None = None

    @property
    def in_windows(self) -> int:
        return sum(window.events for window in self.windows)

    @property
    def open_windows(self) -> int:
        return sum(not window.closed for window in self.windows)


class Watch:
    """Looks at one run."""

    def __init__(self, db: Db, url: str, clock: Clock, run: str) -> None:
        self._db = db
        self._metrics_url = f"{url}/metrics"
        self._clock = clock
        self._run = f"{run}-"
        self._since = clock.now()

    async def look(self) -> Seen:
        """How it stands now."""
        rows = await self._db.fetch(_WINDOWS, self._since)
        landed = await self._db.fetch_value(_LANDED, self._run)
        quarantined = await self._db.fetch_value(_QUARANTINED, self._run)
        text = await asyncio.to_thread(self._metrics)
        now = self._clock.now()
        counts, delays = _told(text)
        return Seen(
            at=now,
            windows=[msgspec.convert(dict(row), Window) for row in rows],
            landed=landed,
            quarantined=quarantined,
            closed=counts["results_total", "closed"],
            corrected=counts["results_total", "corrected"],
            late=counts["late_events_total", "corrected"],
            aside=counts["late_events_total", "side"],
            unusable=counts["unusable_events_total", "future"],
            watermark_at=now - timedelta(seconds=max(delays)) if delays else None,
        )

    def _metrics(self) -> str:
        with urllib.request.urlopen(self._metrics_url, timeout=ANSWER_WAIT_S) as answer:  # noqa: S310 - our worker's
            return str(answer.read().decode())


def _told(text: str) -> tuple[Mapping[tuple[str, str], int], list[float]]:
    """The counters of the aggregation, by name and by the label that divides them, and each partition's delay."""
    from prometheus_client.parser import text_string_to_metric_families

    counts: Counter[tuple[str, str]] = Counter()
    delays = []
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = sample.name.removeprefix("platform_aggregation_")
            if sample.labels.get("aggregation") != "rides_by_zone":
                continue
            if name == "watermark_delay_seconds":
                delays.append(sample.value)
            for label in ("kind", "outcome", "reason"):
                if label in sample.labels:
                    counts[name, sample.labels[label]] += int(sample.value)
    return counts, delays
