"""What lies on the bus, read by time and outside of any group: nothing is committed, and nobody is disturbed.

    for stretch in await history.stretches("orders", from_at=monday, to_at=tuesday): ...
    async with history.reader(stretches, rows=1000, size_bytes=1 << 20) as reader:
        while batch := await reader.following(partition): ...

Time is that of the bus: of when it took a message, or of when the producer says that it sent it (memory; Kafka, unless
the topic says `LogAppendTime`). What happened when is for the messages to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

import msgspec

from contracts.message import Delivery, Partition
from contracts.ports.health import Checked


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be read of one partition: positions from `first`, included, to `end`, excluded. A reader that was told
    so goes on later with `first` behind what it has read last; it is a value, and can be kept meanwhile."""

    partition: Partition
    incarnation: str
    """Which making of the address it is of, where positions do not say so themselves."""
    first: int
    end: int
    messages: int | None = None
    """At most so many; None: nobody can say before they are read."""
    oldest_at: datetime | None = None
    """When the oldest message came that the partition still has; None: it has none."""
    expired: bool = False
    """Messages were deleted that may have been of the time that was asked for: up to `oldest_at` nothing is certain."""

    @property
    def is_empty(self) -> bool:
        return self.first >= self.end


class Reader(Protocol):
    """Stretches while they are read: one after the other or in turn, each by one caller at a time."""

    async def following(self, partition: Partition) -> Sequence[Delivery]:
        """What comes next, in order of position: at most the reader's rows, and about its bytes, or a single message
        that is larger. Empty: that was all.

        Raises `Unavailable` when nothing comes for a while, `Conflict` where what is next was deleted meanwhile, or the
        address was made anew."""
        ...


class History(Checked, Protocol):
    """The same messages for everybody who asks, in the same order, as long as the bus has them."""

    async def stretches(
        self, address: str, *, from_at: datetime | None = None, to_at: datetime | None = None
    ) -> list[Stretch]:
        """Of each partition, in order: from the first message that came at `from_at` or later, to just before the first
        that came at `to_at` or later. So times that touch make stretches that touch: no message is in both, and none in
        neither, whatever its time. Without `from_at` it begins with the oldest that there is; without `to_at`, or
        where that is still to come, it ends with the newest of this moment. The end is fixed: a stretch does not grow.

        Raises `NotFound` for an address that the bus doesn't know, `Unavailable`."""
        ...

    def reader(
        self, stretches: Sequence[Stretch], *, rows: int, size_bytes: int
    ) -> AbstractAsyncContextManager[Reader]:
        """Read these. `rows` and `size_bytes` bound what is handed out at a time, and what is held of each of them."""
        ...
