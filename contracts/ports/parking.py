"""Messages that wait in the ledger, so that their partition can move on: for a later attempt, for their hour, or behind
a message of their own key that waits."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

import msgspec

from contracts.message import Envelope
from contracts.ports.database import Tx
from contracts.ports.partitions import Hold


class ToPark(msgspec.Struct, frozen=True, kw_only=True):
    """`attempt` is the number of its next one. `after_s` counts from now, by the ledger's clock; with `due_at`, an
    instant, it is not used. `position` is where it came from."""

    envelope: Envelope
    position: int
    lane: str | None
    """What orders it: messages of one lane leave in the order in which they were parked. None: by itself."""
    attempt: int = 1
    after_s: float = 0.0
    due_at: datetime | None = None
    error: str = ""


class Parked(msgspec.Struct, frozen=True, kw_only=True):
    """A message that waits; `number` rises in the order of parking."""

    number: int
    hold: Hold
    envelope: Envelope
    position: int
    lane: str | None
    attempt: int
    error: str = ""
    suspect: bool = False
    """It waits since before someone died who held the partition, and has not come back from an attempt since: it is to
    be run alone."""


class Parking(Protocol):
    """Everything is of one partition of one group, and fenced by its epoch: `LeaseLost` where that has moved on."""

    async def park(self, hold: Hold, messages: Sequence[ToPark]) -> None:
        """Keep them, and mark their positions as finished, in one transaction."""
        ...

    async def lanes(self, hold: Hold, *, among: Sequence[str] | None = None) -> frozenset[str]:
        """Those (all, or `among` these) in which something waits: a newer message of such a lane has to be parked
        behind it. All can be many: after each end ask for its own lane only."""
        ...

    async def due(self, holds: Sequence[Hold], *, limit: int) -> list[Parked]:
        """The first of each lane whose time has come, oldest first. A message is returned until it is removed or
        postponed: the holder knows which of them it is carrying."""
        ...

    async def next_due_s(self, holds: Sequence[Hold]) -> float | None:
        """Seconds until the next one is due (0 or less: now); None: nothing waits."""
        ...

    async def postpone(self, parked: Parked, *, attempt: int, after_s: float, error: str = "") -> None:
        """It came back from an attempt, and is no suspect any more."""
        ...

    async def charge(self, parked: Parked) -> int:
        """As `Partitions.charge`: it may have killed its last holder, and is about to be run alone."""
        ...

    async def acquit(self, parked: Parked) -> None:
        """As `Partitions.acquit`."""
        ...

    def transaction(
        self, parked: Parked, *, name: str, ids: Sequence[str] = (), dedupe_s: float = 0.0
    ) -> AbstractAsyncContextManager[Tx]:
        """As `Partitions.transaction`, for the effects of a parked message: its end removes the message."""
        ...

    async def remove(self, parked: Parked) -> None:
        """Done with for good. Idempotent."""
        ...
