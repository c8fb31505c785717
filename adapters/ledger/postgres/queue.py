"""Jobs on their way, on PostgreSQL: every method is one statement."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import asyncpg
import msgspec

from adapters.ledger import storable
from adapters.ledger.ending import Ending, ending_of, unkept
from adapters.ledger.postgres.arrays import Placed, blocked_within, columns_of, recorded_of
from adapters.ledger.postgres.holdings import Holdings
from adapters.ledger.postgres.literals import flags, numbers, texts
from adapters.ledger.postgres.session import STATEMENT_TIMEOUT_S, Session
from adapters.ledger.postgres.statements import named
from adapters.ledger.postgres.wakes import CHANNEL, Wakes
from contracts.errors import BadInput, LeaseLost, Permanent, Unavailable
from contracts.job import Claim, NewJob, Progress
from contracts.ports.database import Guard, Tx
from contracts.ports.ledger import Recorded, Settlement

SQL = named("queue.sql")
CLAIM_ROUNDS = 6
"""A claim begins anew when another worker took the same unique key; the last round leaves keyed jobs out."""
RECORD_ROUNDS = 5
"""The same for commands of one `unique_skip` key that are recorded at the same time."""

_headers = msgspec.json.Decoder(dict[str, str])


class PostgresQueue:
    """Implements `Queue`. A unique key is arbitrated by an index, so it holds whatever workers do at once."""

    def __init__(self, session: Session, holdings: Holdings, wakes: Wakes) -> None:
        self._session = session
        self._holdings = holdings
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
        if worker_id is None or not slots:
            became = await self._record(fresh, None, {})
        else:
            async with self._holdings.claiming(worker_id, self._put_back):
                became = await self._record(fresh, worker_id, slots)
                self._holdings.took(worker_id, [one.claim for one in became.values() if one.claim is not None])
        return [
            became[job.id] if fresh[job.id][0] == place else Recorded(id=job.id, became="known")
            for place, job in enumerate(jobs)
        ]

    async def claim(self, worker_id: str, slots: Mapping[str, int], *, only: Sequence[str] = ()) -> list[Claim]:
        free = {address: count for address, count in slots.items() if count > 0}
        if not free:
            return []
        async with self._holdings.claiming(worker_id, self._put_back):
            claims = await self._claim(worker_id, free, only)
            self._holdings.took(worker_id, claims)
        return claims

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        wanted: dict[tuple[str, int], tuple[Claim, Ending]] = {}
        for settlement in settlements:
            claim = settlement.claim
            if (claim.id, claim.fence) not in wanted:
                wanted[claim.id, claim.fence] = (claim, ending_of(settlement))
        try:
            settled = await self._settle(list(wanted.values()))
        except Permanent as error:
            if not isinstance(error.__cause__, asyncpg.DataError):
                raise
            settled = await self._settle_apart(settlements, wanted)
        self._holdings.ended(claim for claim, _ in wanted.values())
        answers = []
        for settlement in settlements:
            identity = (settlement.claim.id, settlement.claim.fence)
            answers.append(identity in settled)
            settled.discard(identity)
        return answers

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
        return Guard(sql=SQL["guard"], args=(claim.id, claim.fence))

    def wakeups(self) -> AsyncIterator[None]:
        return self._wakes.listen()

    async def next_due_s(self, addresses: Sequence[str]) -> float | None:
        if not addresses:
            return None
        row = await self._session.row(SQL["next_due"], list(addresses))
        due_s: float | None = row[0]
        return due_s

    async def _record(
        self, fresh: Mapping[str, Placed], worker_id: str | None, slots: Mapping[str, int]
    ) -> dict[str, Recorded]:
        claimer = (worker_id, list(slots), [max(0, count) for count in slots.values()], CHANNEL)
        repeatable = worker_id is None  # of a claim whose answer was lost nobody would know
        if not any(job.unique_skip for _, job in fresh.values()):
            row = await self._session.row(SQL["record"], *columns_of(fresh), *claimer, repeatable=repeatable)
            return recorded_of(fresh, row)

        async def contend(connection: Any) -> dict[str, Recorded]:
            async with connection.transaction():
                return await self._record_skipping(connection, fresh, claimer)

        return await self._session.run(contend, repeatable=repeatable)

    async def _record_skipping(
        self, connection: Any, fresh: Mapping[str, Placed], claimer: tuple[Any, ...]
    ) -> dict[str, Recorded]:
        """Each round has a new look at the keys: one that lost its key to another recorder finds the winner."""
        became: dict[str, Recorded] = {}
        left = fresh
        for _ in range(RECORD_ROUNDS):
            keyed = {id_: key for id_, (_, job) in left.items() if (key := storable.key(job.unique_key)) is not None}
            known = await _fetch(connection, SQL["known"], list(keyed))
            rows = await _fetch(connection, SQL["blocked"], list(keyed), list(keyed.values()))
            active = blocked_within(left, known={row["id"] for row in known})
            active |= {row["id"]: row["active_id"] for row in rows if left[row["id"]][1].unique_skip}
            [row] = await _fetch(connection, SQL["record"], *columns_of(left, active), *claimer)
            became |= recorded_of(left, row, active)
            unsure = [id_ for id_ in keyed if fresh[id_][1].unique_skip and became[id_].became == "known"]
            there = {row["id"] for row in await _fetch(connection, SQL["known"], unsure)}
            left = {id_: fresh[id_] for id_ in unsure if id_ not in there}
            if not left:
                return became
        raise Unavailable("the ledger", f"the unique keys of {len(left)} jobs are contended for: record them again")

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

    async def _settle(self, wanted: Sequence[tuple[Claim, Ending]]) -> set[tuple[str, int]]:
        if not wanted:
            return set()
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

    async def _settle_apart(
        self, settlements: Sequence[Settlement], wanted: Mapping[tuple[str, int], tuple[Claim, Ending]]
    ) -> set[tuple[str, int]]:
        """One at a time, after the server refused the batch: whose value it can't keep fails alone, and says why."""
        by_claim = {(s.claim.id, s.claim.fence): s for s in reversed(settlements)}
        settled: set[tuple[str, int]] = set()
        for identity, (claim, ending) in wanted.items():
            try:
                settled |= await self._settle([(claim, ending)])
            except Permanent as error:
                if not isinstance(error.__cause__, asyncpg.DataError):
                    raise
                why = f"what it left can't be kept: {error}"
                settled |= await self._settle([(claim, unkept(by_claim[identity], why))])
        return settled

    async def _put_back(self, worker_id: str, ids: list[str], fences: list[int]) -> None:
        await self._session.rows(SQL["put_back"], worker_id, ids, fences, CHANNEL)


async def _fetch(connection: Any, sql: str, *args: Any) -> list[Any]:
    rows: list[Any] = await connection.fetch(sql, *args, timeout=STATEMENT_TIMEOUT_S)
    return rows


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
