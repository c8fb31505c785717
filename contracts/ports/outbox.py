"""The outbox: what handlers emit is kept with their effects, and sent from there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol

from contracts.job import Claim
from contracts.message import Envelope
from contracts.ports.database import Tx

Send = Callable[[Sequence[Envelope]], Awaitable[None]]
"""Returns once the bus has confirmed all of them."""


class Outbox(Protocol):
    """Messages of one key leave in the order in which they were added, and so do those of one lane, whatever their
    keys; a repeat after a crash carries the same id."""

    async def add(
        self,
        envelopes: Sequence[Envelope],
        *,
        tx: Tx | None,
        claim: Claim | None = None,
        wakes: bool = True,
        identities: Sequence[str] | None = None,
        lane: str | None = None,
    ) -> None:
        """Keep them within `tx`, or in a transaction of its own, which raises `LeaseLost` where the job of `claim` is
        another's now. What waits already, by its identity (its id, unless they are given), is left as it is. Raises
        `BadInput` for what can't be kept.

        Whoever listens is woken by the commit. That costs a busy database dearly, where commits that wake anybody are
        made one at a time; so who sends by itself what it adds says that nobody need be (`wakes=False`)."""
        ...

    async def relay(self, send: Send, *, limit: int = 500) -> int:
        """Send what waits of the key ranges that nobody else is sending from, at most `limit` of each, and forget it
        once it is confirmed. Returns how many were sent; 0: there is nothing to do here now. What `send` raises comes
        out, and nothing that was not confirmed is forgotten."""
        ...

    async def backlog(self) -> int:
        """How many wait."""
        ...

    async def ends(self) -> tuple[int, int] | None:
        """The numbers of the first and of the last message that wait; None: none does. They rise in the order in which
        messages were added, so what was added before is gone once the first one is above what was the last."""
        ...

    def wakeups(self) -> AsyncIterator[None]:
        """One item whenever something may have come; several may fold into one. The first comes as soon as it
        listens. Ends when the ledger closes; survives a lost connection."""
        ...
