"""Batches that are not full yet: one for each partition, handed over when it is, or when its first message has waited
long enough."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from contracts.message import Delivery
from contracts.module import Batch
from contracts.ports import Clock
from runtime.streams.partition import OwnedPartition
from runtime.tasks import Tasks

HandOver = Callable[[OwnedPartition, Sequence[Delivery]], None]


class Gathering:
    """`hand_over` gets whole batches, each in its partition's order."""

    def __init__(self, batch: Batch, *, clock: Clock, tasks: Tasks, hand_over: HandOver) -> None:
        self._batch = batch
        self._clock = clock
        self._tasks = tasks
        self._hand_over = hand_over
        self._waiting: dict[OwnedPartition, list[Delivery]] = {}
        self._timers: dict[OwnedPartition, asyncio.Task[None]] = {}

    def add(self, owned: OwnedPartition, deliveries: Sequence[Delivery]) -> None:
        """In order of position."""
        waiting = self._waiting.setdefault(owned, [])
        first_waits = bool(waiting)
        waiting.extend(deliveries)
        while full := self._full(owned, waiting):
            self._hand_over(owned, waiting[:full])
            del waiting[:full]
            first_waits = False
        if not first_waits:
            self._stop_timer(owned)
            if waiting:
                name = f"batch of {owned.assignment.partition.address}/{owned.assignment.partition.index}"
                self._timers[owned] = self._tasks.start(self._wait(owned), name=name)
        if not waiting:
            del self._waiting[owned]

    def _full(self, owned: OwnedPartition, waiting: Sequence[Delivery]) -> int:
        """How many of what waits are a whole batch; 0: none is yet."""
        rows = self._batch.rows if len(waiting) >= self._batch.rows else 0
        if owned.open_bytes < self._batch.bytes:  # what waits is a part of that
            return rows
        used_bytes = 0
        for at, delivery in enumerate(waiting):
            if at == self._batch.rows:
                break
            used_bytes += delivery.size_bytes
            if at and used_bytes > self._batch.bytes:
                return at
        return rows

    def drop(self, owned: OwnedPartition) -> None:
        """The partition goes away: what waits of it is its next owner's."""
        self._stop_timer(owned)
        self._waiting.pop(owned, None)

    def stop(self) -> None:
        """Hand nothing over any more."""
        for owned in tuple(self._waiting):
            self.drop(owned)

    async def _wait(self, owned: OwnedPartition) -> None:
        await self._clock.sleep(self._batch.wait_s)
        del self._timers[owned]
        self._hand_over(owned, self._waiting.pop(owned))

    def _stop_timer(self, owned: OwnedPartition) -> None:
        if timer := self._timers.pop(owned, None):
            timer.cancel()
