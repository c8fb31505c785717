"""A message of the memory bus as FastStream sees it, and how it is settled one by one."""

from __future__ import annotations

import msgspec
from faststream.message import StreamMessage

from adapters.bus.memory.log import MemoryLog
from adapters.bus.memory.member import Lease
from contracts.message import Delivery


class Redelivery(msgspec.Struct, frozen=True, kw_only=True):
    """When a message that a native subscriber refused comes again, and when it is buried."""

    first_s: float = 0.1
    factor: float = 2.0
    max_s: float = 30.0
    deliveries: int = 5

    def after_s(self, deliveries: int) -> float:
        return min(self.max_s, self.first_s * self.factor ** min(deliveries - 1, 64))


class Received:
    """The raw message: a delivery, and whom to tell what became of it (nobody, for an answer)."""

    __slots__ = ("delivery", "group", "lease", "log", "redelivery", "settled")

    def __init__(
        self,
        delivery: Delivery,
        lease: Lease | None = None,
        *,
        log: MemoryLog,
        group: str = "",
        redelivery: Redelivery | None = None,
    ) -> None:
        self.delivery = delivery
        self.lease = lease
        self.log = log
        self.group = group
        self.redelivery = redelivery or Redelivery()
        self.settled = False

    def finish(self) -> None:
        """Done with, for good or bad. Raises `LeaseLost`: it will be delivered again elsewhere."""
        if self.lease and not self.settled:
            self.lease.finish(self.delivery.position)
            self.settled = True

    def refuse(self, reason: str) -> None:
        """Deliver it again after its back-off; at its last delivery, bury it."""
        if not self.lease or self.settled:
            return
        if self.delivery.deliveries >= self.redelivery.deliveries:
            self.lease.finish(self.delivery.position)
            self.log.bury(self.delivery, self.group, f"{reason} after {self.delivery.deliveries} deliveries")
        else:
            self.lease.hold(self.delivery.position, self.redelivery.after_s(self.delivery.deliveries))
        self.settled = True

    def __repr__(self) -> str:
        delivery = self.delivery
        return f"<Received {delivery.partition.address}/{delivery.partition.index}@{delivery.position}>"


class MemoryMessage(StreamMessage[Received]):
    """Ack and reject remove the message for its group; nack delivers it again with a back-off, then buries it.

    The first verdict counts. A verdict after the partition was revoked raises `LeaseLost`.
    """

    async def ack(self) -> None:
        if self.committed is None:
            self.raw_message.finish()
        await super().ack()

    async def nack(self) -> None:
        if self.committed is None:
            self.raw_message.refuse("it was refused")
        await super().nack()

    async def reject(self) -> None:
        if self.committed is None:
            self.raw_message.finish()
        await super().reject()
