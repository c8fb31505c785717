"""Ending runs, on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import asyncpg

from adapters.ledger.ending import Ending, ending_of, unkept
from adapters.ledger.postgres.literals import flags, numbers, texts
from adapters.ledger.postgres.session import Session
from adapters.ledger.postgres.statements import named
from adapters.ledger.postgres.wakes import CHANNEL
from contracts.errors import Permanent, Unavailable
from contracts.job import Claim
from contracts.ports.ledger import Settlement

SQL = named("queue.sql")
BATCH = 1000
BATCH_CHARACTERS = 16 * 1024 * 1024
"""What one statement carries at most: every end is a change of its own, so a sequence may be cut."""
REFUSED = (asyncpg.DataError, asyncpg.ProgramLimitExceededError)
"""What the server says of a value that it can't keep."""
LOCKED = asyncpg.LockNotAvailableError
"""What it says of a row that a transaction holds, such as one that the run left hanging."""

Identity = tuple[str, int]
"""Job and fence."""


class Settling:
    """Writes ends down; whatever a run leaves behind, its neighbours are settled as they asked."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        wanted: dict[Identity, tuple[Settlement, Ending]] = {}
        for settlement in settlements:
            identity = (settlement.claim.id, settlement.claim.fence)
            if identity not in wanted:
                wanted[identity] = (settlement, ending_of(settlement))
        settled: set[Identity] = set()
        for batch in _batches(list(wanted.values())):
            try:
                settled |= await self._settle([(settlement.claim, ending) for settlement, ending in batch])
            except (Permanent, Unavailable) as error:
                if not isinstance(error.__cause__, (*REFUSED, LOCKED)):
                    raise
                settled |= await self._settle_apart(batch)
        answers = []
        for settlement in settlements:
            identity = (settlement.claim.id, settlement.claim.fence)
            answers.append(identity in settled)
            settled.discard(identity)
        return answers

    async def _settle(self, wanted: Sequence[tuple[Claim, Ending]]) -> set[Identity]:
        endings = [ending for _, ending in wanted]
        ids = texts([claim.id for claim, _ in wanted])
        fences = numbers([claim.fence for claim, _ in wanted])
        states = texts([ending.state for ending in endings])
        row = await self._session.row(
            SQL["settle"],
            ids,
            fences,
            states,
            numbers([ending.after_s for ending in endings]),
            flags([ending.counts for ending in endings]),
            texts([ending.error for ending in endings]),
            texts([ending.traceback for ending in endings]),
            texts([ending.result for ending in endings]),
            texts([ending.progress for ending in endings]),
            CHANNEL,
        )
        settled = set(zip(row["ids"], row["fences"], strict=True))
        if len(settled) < len(wanted):
            # The answer to an earlier try may have been lost: what ended as asked under this fence, this run ended.
            rows = await self._session.rows(SQL["ended_as"], ids, fences, states)
            settled.update((ended["id"], ended["fence"]) for ended in rows)
        return settled

    async def _settle_apart(self, batch: Sequence[tuple[Settlement, Ending]]) -> set[Identity]:
        """One at a time, after the server refused them together: whose value it can't keep fails, and says why. Raises
        `Unavailable` at the end when the row of one was locked all the time."""
        settled: set[Identity] = set()
        locked: Unavailable | None = None
        for settlement, ending in batch:
            try:
                settled |= await self._settle([(settlement.claim, ending)])
            except Permanent as error:
                if not isinstance(error.__cause__, REFUSED):
                    raise
                refused = unkept(settlement, f"what it left can't be kept: {error}")
                settled |= await self._settle([(settlement.claim, refused)])
            except Unavailable as error:
                if not isinstance(error.__cause__, LOCKED):
                    raise
                locked = error
        if locked is not None:
            raise locked
        return settled


def _batches(wanted: Sequence[tuple[Settlement, Ending]]) -> Iterator[Sequence[tuple[Settlement, Ending]]]:
    batch: list[tuple[Settlement, Ending]] = []
    characters = 0
    for settlement, ending in wanted:
        size = sum(len(part) for part in (ending.error, ending.traceback, ending.result, ending.progress) if part)
        if batch and (len(batch) == BATCH or characters + size > BATCH_CHARACTERS):
            yield batch
            batch, characters = [], 0
        batch.append((settlement, ending))
        characters += size
    if batch:
        yield batch
