"""Results and late events as messages."""

from __future__ import annotations

from typing import Any

import msgspec

from contracts.aggregation import Aggregation
from contracts.metric_aggregator import LateEvent, WindowResult
from contracts.ports import Emit
from modules.metric_aggregator.instant import instant
from modules.metric_aggregator.plan import Plan
from modules.metric_aggregator.told import Result, Told


class Publisher:
    """Of one aggregation. Messages are keyed by the key's first column, as the events are: those of one window keep
    their order."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._aggregation: Aggregation = plan.aggregation

    async def publish(self, emit: Emit, told: Told, partition: int, watermark_at: Any) -> None:
        """In the transaction of the batch; what was retracted before what stands instead of it."""
        to = self._aggregation.to
        if to.address is not None:
            for result in told.retracted:
                await emit(to.address, self._message(result, partition, retracted=True), key=_text_of(result.key))
            for result in told.results:
                await emit(to.address, self._message(result, partition, retracted=False), key=_text_of(result.key))
        if to.late_address is not None:
            for one in told.aside:
                late = LateEvent(
                    aggregation=self._aggregation.name,
                    reason=one.reason,
                    event_at=one.at,
                    watermark_at=watermark_at,
                    partition=partition,
                    event=one.event,
                )
                await emit(to.late_address, late, key=_text_of(self._plan.key_of(one.event)))

    def _message(self, result: Result, partition: int, *, retracted: bool) -> WindowResult:
        key = result.key if isinstance(result.key, tuple) else (result.key,)
        return WindowResult(
            aggregation=self._aggregation.name,
            key=dict(zip(self._aggregation.key, key, strict=True)),
            window_start=instant(result.start),
            window_end=instant(result.end),
            measures={m.name: value for m, value in zip(self._aggregation.measures, result.values, strict=True)},
            events=result.events,
            closed=result.closed,
            revision=result.revision,
            partition=partition,
            retracted=retracted,
        )


def _text_of(key: Any) -> str | None:
    """As a producer would write it; None where there is none, or one that no message can have."""
    first = key[0] if isinstance(key, tuple) else key
    if first is None or (isinstance(first, str) and ("\0" in first or not first)):
        return None
    return first if isinstance(first, str) else msgspec.json.encode(first).decode().strip('"')
