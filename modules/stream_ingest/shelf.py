"""Refused messages, in the table in which `batch_etl` keeps its refused rows: listed, shown and exported with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from contracts.event import Event, Land
from contracts.message import Partition
from contracts.ports import Db
from contracts.ports.database import Queries
from contracts.quarantine import mask_object, storable, storable_reason
from modules.stream_ingest.intake import Refused

_COLUMNS = (
    "dataset", "part", "file", "content", "partition", "line", "reasons", "raw", "raw_bytes", "escaped", "job_id",
    "rejected_at", "expires_at",
)  # fmt: skip
_FORGET = """
delete from millrace.quarantine where id in (
    select id from millrace.quarantine where partition is not null and expires_at <= now()
    order by expires_at limit $1 for update skip locked)
"""
FORGOTTEN_AT_ONCE = 10_000


class Shelf:
    """Where the refused messages of one event go."""

    def __init__(self, event: Event) -> None:
        self._event = event.name
        self._hidden = [column.source_name for column in event.columns if column.personal]
        self._kept_for = timedelta(days=event.land.quarantine_days if event.land else Land().quarantine_days)

    async def keep(
        self, db: Db, refused: Sequence[Refused], place: Partition, positions: Sequence[int], now: datetime
    ) -> None:
        """In the transaction of their batch. `positions` has that of each message by its place in the batch."""

        def rows() -> Iterator[tuple[Any, ...]]:
            for one in refused:
                raw, escaped = storable(mask_object(one.raw, self._hidden) if self._hidden else one.raw)
                yield (
                    self._event, "", place.address, "", place.index, positions[one.at], [storable_reason(one.reason)],
                    raw, len(one.raw), escaped, "", now, now + self._kept_for,
                )  # fmt: skip

        await db.bulk_insert("millrace.quarantine", rows(), columns=_COLUMNS)


async def forget(db: Queries) -> int:
    """Those whose time is over, some at once; returns how many."""
    return await db.execute(_FORGET, FORGOTTEN_AT_ONCE)
