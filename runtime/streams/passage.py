"""A message, or a batch of one partition, on its way through this worker."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from contracts.message import Delivery, Envelope
from contracts.ports.parking import Parked
from contracts.ports.partitions import Span
from runtime.policy.retry import Cut
from runtime.policy.spans import spans_of
from runtime.streams.partition import OwnedPartition


class Passage:
    """`open` is what of it, once it has begun, is not settled yet, by position; `cut` is why it was ended, when it was.

    One that was `parked` comes from the ledger: its place on the bus is finished already. A `suspect` may have killed
    the process that had it before us.
    """

    __slots__ = (
        "asleep",
        "cut",
        "deliveries",
        "done",
        "generation",
        "lane",
        "message",
        "open",
        "owned",
        "parked",
        "suspect",
        "task",
        "tick",
    )

    open: dict[int, Delivery]

    def __init__(
        self,
        owned: OwnedPartition,
        deliveries: Sequence[Delivery],
        lane: str | None,
        *,
        message: Any = None,
        parked: Parked | None = None,
        suspect: bool = False,
        tick: Envelope | None = None,
    ) -> None:
        self.owned = owned
        self.generation = owned.generation
        self.deliveries = deliveries
        self.lane = lane
        self.message = message
        """Decoded, where its lane could not be known otherwise."""
        self.parked = parked
        self.suspect = suspect
        self.tick = tick
        """Instead of a delivery: its partition was quiet, and its handler is to be called all the same."""
        self.cut: Cut | None = None
        self.asleep = False
        """It waits for its next attempt: ending it now harms nothing."""
        self.task: asyncio.Task[None] | None = None
        self.done: asyncio.Event | None = None
        """Set when it has ended, where somebody waits for that."""

    @property
    def id(self) -> str:
        return self.source(self.deliveries).id

    @property
    def last(self) -> int:
        return self.deliveries[-1].position if self.deliveries else -1

    def source(self, deliveries: Sequence[Delivery]) -> Envelope:
        """What an attempt at some of its deliveries goes by."""
        if deliveries:
            return deliveries[0].envelope
        assert self.tick is not None
        return self.tick

    @property
    def stale(self) -> bool:
        """Its partition is going, or was taken anew: it must not be started."""
        return self.owned.ending or self.generation != self.owned.generation

    def spans(self, positions: Sequence[int]) -> Sequence[Span]:
        """What these cover, when nothing else that is finished lies between them."""
        if len(self.open) == len(self.deliveries) and self.owned.nothing_finished_from(positions[0]):
            return [(positions[0], positions[-1] + 1)]
        return spans_of(positions)

    def begin(self) -> None:
        """It is started. Until then it is kept as small as can be: there are tens of thousands that wait."""
        self.open = {delivery.position: delivery for delivery in self.deliveries}

    def end(self, why: Cut) -> None:
        """Cancel it; what is open is handed back. Idempotent."""
        if self.task and self.cut is None:
            self.cut = why
            self.task.cancel()

    def finish(self, deliveries: Sequence[Delivery]) -> None:
        """Done with for good. Idempotent."""
        was_open = [delivery for delivery in deliveries if self.open.pop(delivery.position, None) is not None]
        if was_open and self.parked is None:
            self.owned.finish(*was_open)

    async def release(self, delivery: Delivery) -> None:
        """Handed back unharmed. What was parked stays in the ledger."""
        if self.open.pop(delivery.position, None) and self.parked is None:
            await self.owned.release(delivery)
