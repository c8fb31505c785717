"""The outbox, in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import islice

from adapters.ledger.memory.books import Books
from adapters.ledger.outgoing import READ_BYTES, SHARDS, packed, shard_of
from contracts.errors import LeaseLost
from contracts.job import Claim
from contracts.message import Envelope
from contracts.ports.database import Tx
from contracts.ports.outbox import Send


class MemoryOutbox:
    """Implements `Outbox`. What is added within a transaction of this ledger waits for its end; any other one can't be
    known here, and what is added within it is there at once."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._shards: list[dict[str, Envelope]] = [{} for _ in range(SHARDS)]
        """By identity."""
        self._numbers: dict[str, int] = {}
        """Of those that wait, in their order."""
        self._added = 0
        self._sending: set[int] = set()
        self._signals: set[asyncio.Event] = set()

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
        if not envelopes:
            return
        envelopes = tuple(envelopes)
        named = tuple(identities or (envelope.id for envelope in envelopes))
        for envelope in envelopes:
            packed(envelope)  # what can't be kept elsewhere is refused here too
        if claim is not None and self._books.held(claim) is None:
            raise LeaseLost(f"job {claim.id}: another worker owns it now (this run's fence was {claim.fence})")
        stage = getattr(tx, "stage", None)
        if stage is not None:
            stage(lambda: self._keep(named, envelopes, lane, wakes=wakes))
        else:
            self._keep(named, envelopes, lane, wakes=wakes)

    async def relay(self, send: Send, *, limit: int = 500) -> int:
        sent = 0
        for shard in range(SHARDS):
            if shard in self._sending or not self._shards[shard]:
                continue
            self._sending.add(shard)
            try:
                sending = dict(_bounded(islice(self._shards[shard].items(), limit)))
                await send(list(sending.values()))
                for identity in sending:
                    del self._shards[shard][identity], self._numbers[identity]
            finally:
                self._sending.discard(shard)
            sent += len(sending)
        return sent

    async def backlog(self) -> int:
        return sum(map(len, self._shards))

    async def ends(self) -> tuple[int, int] | None:
        if not self._numbers:
            return None
        return next(iter(self._numbers.values())), next(reversed(self._numbers.values()))

    async def wakeups(self) -> AsyncIterator[None]:
        signal = asyncio.Event()
        signal.set()
        self._signals.add(signal)
        try:
            while True:
                await signal.wait()
                if not self._books.open:
                    return
                signal.clear()
                yield
        finally:
            self._signals.discard(signal)

    def wake(self) -> None:
        for signal in self._signals:
            signal.set()

    def _keep(self, identities: Sequence[str], envelopes: Sequence[Envelope], lane: str | None, *, wakes: bool) -> None:
        for identity, envelope in zip(identities, envelopes, strict=True):
            if identity not in self._numbers:
                self._added += 1
                self._numbers[identity] = self._added
                self._shards[shard_of(envelope, lane)][identity] = envelope
        if wakes:
            self.wake()


def _bounded(waiting: Iterator[tuple[str, Envelope]]) -> Iterator[tuple[str, Envelope]]:
    size_bytes = 0
    for identity, envelope in waiting:
        if size_bytes >= READ_BYTES:
            return
        yield identity, envelope
        size_bytes += len(packed(envelope))
