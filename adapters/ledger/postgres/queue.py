"""Jobs on their way, on PostgreSQL: every method is one statement."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import asyncpg
import msgspec

from adapters.ledger import storable
from adapters.ledger.postgres import fences
from adapters.ledger.postgres.arrays import Placed
from adapters.ledger.postgres.literals import numbers, texts
from adapters.ledger.postgres.recording import Recording
from adapters.ledger.postgres.session import Session
from adapters.ledger.postgres.settling import Settling
from adapters.ledger.postgres.statements import named
from adapters.ledger.postgres.wakes import Wakes
from contracts.errors import BadInput, LeaseLost, Permanent
from contracts.job import Claim, NewJob, Progress
from contracts.ports.database import Guard, Tx
from contracts.ports.ledger import Recorded, Settlement

SQL = named("queue.sql")
CLAIM_ROUNDS = 6
"""A claim begins anew when another worker took the same unique key; the last round leaves keyed jobs out."""

_headers = msgspec.json.Decoder(dict[str, str])


class PostgresQueue:
    """Implements `Queue`. A unique key is arbitrated by an index, so it holds whatever workers do at once."""

    def __init__(self, session: Session, wakes: Wakes) -> None:
        self._session = session
        self._recording = Recording(session)
        self._settling = Settling(session)
        self._wakes = wakes

    async def record(
        self,
        jobs: Sequence[NewJob],
        *,
        worker_id: str | None = None,
        slots: Mapping[str, int] | None = None,
    ) -> list[Recorded]:
        fresh: dict[str, Placed] = {}
        for place, job in enumerate(jobs):
            fresh.setdefault(storable.name(job.id, what="job id"), (place, job))
        if not fresh:
            return []
        claimer = worker_id if slots else None
        became = await self._recording.record(fresh, claimer, (slots or {}) if claimer else {})
        return [
            became[job.id] if fresh[job.id][0] == place else Recorded(id=job.id, became="known")
            for place, job in enumerate(jobs)
        ]

    async def claim(self, worker_id: str, slots: Mapping[str, int], *, only: Sequence[str] = ()) -> list[Claim]:
        free = {address: count for address, count in slots.items() if count > 0}
        if not free:
            return []
        return await self._claim(worker_id, free, only)

    async def strays(self, worker_id: str, known: Sequence[Claim]) -> list[Claim]:
        ids, fences = texts([claim.id for claim in known]), numbers([claim.fence for claim in known])
        return list(map(_claim, await self._session.rows(SQL["strays"], worker_id, ids, fences)))

    async def acquit(self, claims: Sequence[Claim]) -> None:
        ids, fences = texts([claim.id for claim in claims]), numbers([claim.fence for claim in claims])
        await self._session.rows(SQL["acquit"], ids, fences)

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        return await self._settling.settle(settlements)

    async def note(self, notes: Sequence[tuple[Claim, Progress | None]]) -> list[str]:
        if not notes:
            return []
        last = {claim.id: (claim.fence, storable.progress(progress)) for claim, progress in notes}
        rows = await self._session.rows(
            SQL["note"],
            texts(list(last)),
            numbers([fence for fence, _ in last.values()]),
            texts([said for _, said in last.values()]),
        )
        return [row["id"] for row in rows]

    async def checkpoint(self, claim: Claim, state: bytes, *, tx: Tx | None = None) -> None:
        args = (claim.id, claim.fence, storable.json(state, what="the checkpoint"))
        try:
            if tx is not None:
                saved = await tx.execute(SQL["checkpoint"], *args) == 1
            else:
                saved = await self._session.row(SQL["checkpoint"] + " returning 1", *args) is not None
        except Permanent as error:
            if isinstance(error.__cause__, asyncpg.DataError):
                raise BadInput(f"the checkpoint can't be kept as JSON: {error}") from error
            raise
        if not saved:
            raise LeaseLost(f"job {claim.id}: another worker owns it now (this run's fence was {claim.fence})")

    def guard(self, claim: Claim) -> Guard | None:
        return Guard(sql=SQL["guard"], args=(claim.id, claim.fence), fence=fences.of_job(claim.id, claim.fence))

    def wakeups(self) -> AsyncIterator[None]:
        return self._wakes.listen()

    async def next_due_s(self, addresses: Sequence[str]) -> float | None:
        if not addresses:
            return None
        row = await self._session.row(SQL["next_due"], list(addresses))
        due_s: float | None = row[0]
        return due_s

    async def _claim(self, worker_id: str, free: dict[str, int], only: Sequence[str]) -> list[Claim]:
        claims: list[Claim] = []
        for round_ in range(1, CLAIM_ROUNDS + 1):
            args = (worker_id, list(free), list(free.values()), round_ < CLAIM_ROUNDS)
            try:
                if only:
                    rows = await self._session.rows(SQL["claim_only"], *args, list(only), repeatable=False)
                else:
                    rows = await self._session.rows(SQL["claim"], *args, repeatable=False)
            except Permanent as error:
                if round_ == CLAIM_ROUNDS or not isinstance(error.__cause__, asyncpg.UniqueViolationError):
                    raise
                continue
            claims += map(_claim, rows)
            if not rows or rows[0]["picked"] == len(rows):
                break
            # Jobs of one key stood before others: what they kept from being seen may run.
            for row in rows:
                free[row["address"]] -= 1
            free = {address: count for address, count in free.items() if count > 0}
            if not free:
                break
        return claims


def _claim(row: Any) -> Claim:
    headers = row["headers"]
    checkpoint = row["checkpoint"]
    return Claim(
        id=row["id"],
        address=row["address"],
        body=row["body"],
        fence=row["fence"],
        attempt=row["attempt"],
        claims=row["claims"],
        headers={} if headers == "{}" else _headers.decode(headers),
        correlation_id=row["correlation_id"],
        checkpoint=None if checkpoint is None else checkpoint.encode(),
        recorded_at=row["recorded_at"],
    )
