"""Positions in the ledger: who holds which partition for a group, and how far its effects stand.

A worker *takes* a partition, which raises its epoch; from then on no transaction of an older epoch commits. What is
finished is written in the transaction of its effects; so whoever takes the partition next knows it exactly, whatever
became of the worker before. Positions are the bus's own, whole numbers that only rise (a Redis entry id fits in 128
bits).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

import msgspec

from contracts.message import Partition
from contracts.ports.database import Tx

Span = tuple[int, int]
"""Positions from the first, included, to the second, excluded."""


class Hold(msgspec.Struct, frozen=True):
    """A partition that is held for a group, until someone takes it again."""

    group: str
    partition: Partition
    epoch: int


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledger knew of a partition when it was taken."""

    hold: Hold
    position: int | None = None
    """Every position below it is finished; None: nothing was ever stored."""
    finished: tuple[Span, ...] = ()
    """What is finished above it, in order, not touching each other."""
    suspects_below: int | None = None
    """The last holder did not leave cleanly: what is unfinished below this may have been running when it died."""


class Reported(msgspec.Struct, frozen=True, kw_only=True):
    """What a holder says of its partition now and then. `position` is None where positions are the bus's alone."""

    hold: Hold
    position: int | None
    reach: int
    """Nothing at or above it was started; said before anything beyond the last one is."""
    lag: int = 0
    open: int = 0
    needless_below: int | None = None
    """Where positions are the bus's alone: what it has committed. What was kept of finished positions below it (a
    parked message's, say) is forgotten then."""


class Known(msgspec.Struct, frozen=True):
    """Those of the positions, and of the message ids, that were finished before."""

    positions: frozenset[int]
    ids: frozenset[str]


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the table of partitions, for people. `worker_id` is None when nobody holds it."""

    group: str
    partition: Partition
    epoch: int
    worker_id: str | None
    taken_at: datetime | None
    reported_at: datetime | None
    position: int | None
    lag: int
    open: int
    parked: int


class Partitions(Protocol):
    """All raise `Unavailable` when the store does not answer."""

    async def take(
        self, group: str, partition: Partition, *, worker_id: str, incarnation: str, durable: bool = True
    ) -> Taken:
        """Hold a partition from now on: waits for the commits that are under way, and lets no later one of an older
        epoch through. Raises `Conflict` where the stored position belongs to another `incarnation` of the address (it
        was deleted and made anew): what to do about that is for people (`reset`). A bus that is not `durable` lives and
        dies with its process: there a new incarnation begins anew, beside those of other living workers, under an index
        of its own (`hold.partition`)."""
        ...

    async def report(self, reports: Sequence[Reported]) -> list[bool]:
        """Keep positions, reaches and lags; False where the partition is held by another now. What was kept of
        finished positions below `position` is forgotten."""
        ...

    async def leave(self, hold: Hold, *, position: int | None, finished: Sequence[Span] = ()) -> bool:
        """The clean end of a hold: nothing that was started is unfinished. False: it was lost before."""
        ...

    def transaction(
        self,
        hold: Hold,
        span: Span | None,
        *,
        name: str,
        ids: Sequence[str] = (),
        dedupe_s: float = 0.0,
        besides: Sequence[Span] = (),
    ) -> AbstractAsyncContextManager[Tx]:
        """A transaction of the ledger's database for the effects of the messages in `span`: when its block ends it
        marks the span as finished (and the ids as seen, for `dedupe_s`) and commits, or raises `LeaseLost` and rolls
        back: the epoch has moved on, or a part of the span was finished before (messages that have such a part between
        them name the spans around it: `besides`). Without a span it finishes nothing, and is fenced all the same.
        Whether a commit took place of which nothing was heard, `known` tells once the partition was taken again. That
        of a memory ledger has no SQL."""
        ...

    async def finish(self, hold: Hold, span: Span) -> None:
        """The same without effects. Raises `LeaseLost`."""
        ...

    async def known(self, hold: Hold, *, positions: Sequence[int] = (), ids: Sequence[str] = ()) -> Known: ...

    async def charge(self, hold: Hold, position: int) -> int:
        """A suspect is about to be run alone: counts that, durably, and returns under how many holds, with this one, it
        was run so and did not come back. Idempotent. Raises `LeaseLost`."""
        ...

    async def acquit(self, hold: Hold, position: int) -> None:
        """It was unfinished, but no death: takes back what it was charged with under this hold, whoever holds the
        partition by now. Idempotent."""
        ...

    async def holdings(self) -> list[Holding]:
        """All that is known, by group and partition."""
        ...

    async def reset(self, group: str, address: str, *, to: int | None) -> int:
        """Forget the positions of a group and address, and the state that stands with them: they begin at `to`, or
        where the bus says (None). Returns how many partitions that were. Raises `Conflict` while a living worker holds
        any of them."""
        ...

    async def prune(self, *, batch: int = 1000) -> int:
        """Forget the seen ids whose time is over, at most `batch` at a call. What waits for a worker that is gone, and
        whose bus went with it, is from now on that of another one that has the same partition."""
        ...
