"""The outbox on PostgreSQL: a table that is filled with effects and emptied as the bus confirms."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence

import asyncpg
import msgspec

from adapters.ledger import storable
from adapters.ledger.outgoing import READ_BYTES, SHARDS, packed, shard_of
from adapters.ledger.postgres.lines import Line
from adapters.ledger.postgres.literals import numbers, texts
from adapters.ledger.postgres.session import Session
from adapters.ledger.postgres.statements import named
from adapters.ledger.postgres.wakes import Wakes
from contracts.errors import LeaseLost, Transient, Unavailable
from contracts.job import Claim
from contracts.message import Envelope
from contracts.ports.database import Tx
from contracts.ports.outbox import Send

SQL = named("outbox.sql")
CHANNEL = "millrace_outbox"
LOCK_CLASS = 0x6D696C6F
"""The first half of the advisory locks' numbers, the second is the shard: fixed, as all workers must agree on it."""
SIDE_BY_SIDE = 2
"""Shards that one worker sends from at a time, each on a connection of its own."""
SEND_TIMEOUT_S = 30.0
STALL_TIMEOUT_S = 60.0
"""A sender that is heard of no more (it was stopped, its network is cut) loses its shard after this long: the server
ends its session, and another takes over. Longer than `SEND_TIMEOUT_S`, so a sender that lives gives up before."""

_envelope = msgspec.msgpack.Decoder(Envelope)

Stretch = tuple[int, int, int]
"""A shard, and the first and the last number that wait in it."""


class PostgresOutbox:
    """Implements `Outbox`. A shard belongs to whoever gets its advisory lock, for one transaction: read, send, delete.

    Numbers are given before commits, so a row can appear below others that were seen, or sent, before it. What follows
    it in its lane was numbered after its commit. So a look has the first and the last number of one moment, and nothing
    outside of them is read for it: what appeared below comes in the next look, and what follows that not before. Where
    a shard begins can't be remembered from look to look for the same reason, though an old transaction somewhere can
    keep vacuum from the rows that were sent, and stepping over a million of them takes a third of a second.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._wakes = Wakes(session.db, channel=CHANNEL)
        self._lines = [Line(session.db, name="millrace outbox") for _ in range(SIDE_BY_SIDE)]
        self._relaying = asyncio.Lock()
        self._turn = 0

    def open(self) -> None:
        self._wakes.open()

    async def close(self) -> None:
        self._wakes.close()
        for line in self._lines:
            await line.close()

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
        args = (*_columns_of(envelopes, identities, lane), *_fence_of(claim), CHANNEL if wakes else None)
        if tx is not None:
            row = await tx.fetch_one(SQL["add"], *args)
        else:
            try:
                row = await self._session.row(SQL["add"], *args)
            except Unavailable as error:
                if claim is None or not isinstance(error.__cause__, asyncpg.LockNotAvailableError):
                    raise
                raise Transient(
                    f"job {claim.id} holds its own row in an open transaction, in which it saved a checkpoint: "
                    "emit within that transaction (tx=...), or after it"
                ) from error
        if row is not None and claim is not None and not row["held"]:
            raise LeaseLost(f"job {claim.id}: another worker owns it now (this run's fence was {claim.fence})")

    async def relay(self, send: Send, *, limit: int = 500) -> int:
        async with self._relaying:
            waiting = await self._waiting()
            return await Pass(self._lines, send, limit).run(waiting) if waiting else 0

    async def backlog(self) -> int:
        [row] = await self._session.ask(SQL["backlog"])  # from end to end, which the plans of the others avoid
        return int(row[0])

    async def ends(self) -> tuple[int, int] | None:
        waiting = await self._waiting()
        return (min(first for _, first, _ in waiting), max(last for *_, last in waiting)) if waiting else None

    def wakeups(self) -> AsyncIterator[None]:
        return self._wakes.listen()

    async def _waiting(self) -> list[Stretch]:
        """Of the shards in which something waits; a different one comes first each time."""
        row = await self._session.row(SQL["waiting"], numbers(range(SHARDS)))
        self._turn = (self._turn + 1) % SHARDS
        found = zip(row["shards"] or (), row["firsts"] or (), row["lasts"] or (), strict=True)
        return sorted(found, key=lambda stretch: (stretch[0] - self._turn) % SHARDS)


class Pass:
    """One pass over the shards, a few side by side. Where one can't be sent the others are ended, not cut: what the bus
    is about to confirm need not be repeated."""

    def __init__(self, lines: Sequence[Line], send: Send, limit: int) -> None:
        self._lines = lines
        self._send = send
        self._limit = limit
        self._waiting: deque[Stretch] = deque()
        self._failed: Exception | None = None
        self._sent = 0

    async def run(self, waiting: Sequence[Stretch]) -> int:
        """How many were sent."""
        self._waiting.extend(waiting)
        async with asyncio.TaskGroup() as group:
            for line in self._lines[: len(waiting)]:
                group.create_task(self._on(line))
        if self._failed is not None:
            raise self._failed
        return self._sent

    async def _on(self, line: Line) -> None:
        while self._waiting and self._failed is None:
            try:
                sent = await self._relay(line, *self._waiting.popleft())
                self._sent += sent  # the other line adds to it meanwhile
            except Exception as error:  # noqa: BLE001 - it is raised when the other lines have ended
                self._failed = error

    async def _relay(self, line: Line, shard: int, first: int, last: int) -> int:
        async with line.transaction() as tx:
            row = await tx.fetch_one(SQL["lock"], LOCK_CLASS, shard, f"{STALL_TIMEOUT_S * 1000:.0f}")
            if row is None or not row["locked"]:
                return 0  # whoever sends from it hears of the same wakes
            rows = await tx.fetch(SQL["read"], shard, first, last, self._limit, READ_BYTES)
            if not rows:
                return 0
            await self._confirmed(line, [_envelope.decode(row["envelope"]) for row in rows])
            await tx.execute(SQL["forget"], shard, numbers(row["number"] for row in rows))
            return len(rows)

    async def _confirmed(self, line: Line, envelopes: Sequence[Envelope]) -> None:
        deadline: asyncio.Timeout | None = None
        try:
            async with line.while_connected(SEND_TIMEOUT_S) as deadline:
                await self._send(envelopes)
        except TimeoutError as error:
            if deadline is None or not deadline.expired():
                raise  # the sender's own
            why = f"it did not confirm {len(envelopes)} messages within {SEND_TIMEOUT_S:g} s"
            raise Unavailable("the bus", f"{why}, or the lock on their keys was lost with its connection") from error


def _columns_of(
    envelopes: Sequence[Envelope], identities: Sequence[str] | None, lane: str | None
) -> tuple[object, ...]:
    envelopes_packed = [packed(envelope) for envelope in envelopes]
    identities = identities or [envelope.id for envelope in envelopes]
    return (
        numbers(shard_of(envelope, lane) for envelope in envelopes),
        texts([storable.key(identity) for identity in identities]),
        texts([storable.cut(envelope.address, keep=storable.NAME_BYTES) for envelope in envelopes]),
        texts([None if envelope.key is None else storable.cut(envelope.key) for envelope in envelopes]),
        envelopes_packed,
    )


def _fence_of(claim: Claim | None) -> tuple[str | None, int | None]:
    return (None, None) if claim is None else (claim.id, claim.fence)
