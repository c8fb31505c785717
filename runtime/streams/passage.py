"""A message, or a batch of one partition, on its way through this worker."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from contracts.message import Delivery
from runtime.policy.retry import Cut
from runtime.streams.partition import OwnedPartition


class Passage:
    """`open` is what of it is not settled yet, by position; `cut` is why it was ended, when it was."""

    def __init__(self, owned: OwnedPartition, deliveries: Sequence[Delivery]) -> None:
        self.owned = owned
        self.deliveries = deliveries
        self.open = {delivery.position: delivery for delivery in deliveries}
        self.cut: Cut | None = None
        self.asleep = False
        """It waits for its next attempt: ending it now harms nothing."""
        self.task: asyncio.Task[None] | None = None

    @property
    def id(self) -> str:
        return self.deliveries[0].envelope.id

    def why_cut(self) -> Cut | None:
        return self.cut

    def end(self, why: Cut) -> None:
        """Cancel it; what is open is handed back. Idempotent."""
        if self.task and self.cut is None:
            self.cut = why
            self.task.cancel()

    def finish(self, delivery: Delivery) -> None:
        """Done with for good."""
        self.open.pop(delivery.position, None)
        self.owned.finish(delivery)

    async def release(self, delivery: Delivery) -> None:
        """Handed back unharmed."""
        self.open.pop(delivery.position, None)
        await self.owned.release(delivery)
