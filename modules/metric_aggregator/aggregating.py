"""What is done with a batch: its events into windows, what these tell into the table and onto the bus, and all of it
saved, in the one transaction of the batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from contracts.aggregation import Aggregation
from contracts.event import Event
from contracts.ports import Clock, Db, Emit, Metrics, State
from modules.metric_aggregator.held import Held
from modules.metric_aggregator.measures import (
    LATE_EVENTS,
    RESULTS,
    SAVED_BYTES,
    STATE_BYTES,
    UNUSABLE_EVENTS,
    WATERMARK_DELAY,
    WINDOWS,
)
from modules.metric_aggregator.plan import Plan
from modules.metric_aggregator.publishing import Publisher
from modules.metric_aggregator.table import ResultTable
from modules.metric_aggregator.told import Told


class Aggregator:
    """Of one aggregation, for all partitions."""

    def __init__(self, aggregation: Aggregation, event: Event) -> None:
        to = aggregation.to
        self._plan = Plan(aggregation, event)
        self._publisher = Publisher(self._plan)
        self.table = None if to.table is None else ResultTable(aggregation, event, to.table)

    async def take(
        self, batch: Sequence[msgspec.Struct], state: State, db: Db, emit: Emit, clock: Clock, metrics: Metrics
    ) -> None:
        """A batch of a partition; an empty one where nothing comes."""
        now, partition = clock.now(), state.partition.index

        def make(saved: Mapping[str, bytes]) -> Held:
            return Held(self._plan, now=now, saved=saved)

        held = await state.restored(make)
        told = held.add(batch, now) if batch else held.let_pass(now)
        if batch or told:
            if self.table is not None:
                await self.table.write(db, told, partition)
            await self._publisher.publish(emit, told, partition, held.watermark_at)
            held.save(state.save)
        self._measure(held, told, partition, now, metrics)

    def _measure(self, held: Held, told: Told, partition: int, now: datetime, metrics: Metrics) -> None:
        of = {"aggregation": self._plan.aggregation.name}
        for result in told.results:
            kind = "changed" if not result.closed else "corrected" if result.corrects else "closed"
            metrics.add(RESULTS, 1, kind=kind, **of)
        for _ in told.retracted:
            metrics.add(RESULTS, 1, kind="retracted", **of)
        if told.corrected:
            metrics.add(LATE_EVENTS, told.corrected, outcome="corrected", **of)
        outcome = "dropped" if self._plan.aggregation.to.late_address is None else "side"
        for one in told.aside:
            if one.reason == "late":
                metrics.add(LATE_EVENTS, 1, outcome=outcome, **of)
            else:
                metrics.add(UNUSABLE_EVENTS, 1, reason=one.reason, **of)
        at = {**of, "partition": str(partition)}
        metrics.set(WINDOWS, held.open_windows, **at)
        metrics.set(STATE_BYTES, held.weight_bytes, **at)
        metrics.set(SAVED_BYTES, held.saved_bytes, **at)
        if (watermark_at := held.watermark_at) is not None:
            metrics.set(WATERMARK_DELAY, (now - watermark_at).total_seconds(), **at)
