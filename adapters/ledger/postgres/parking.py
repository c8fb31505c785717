"""Messages that wait, on PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec

from adapters.ledger import storable
from adapters.ledger.ending import wait_s
from adapters.ledger.postgres import fences
from adapters.ledger.postgres.literals import numbers, texts
from adapters.ledger.postgres.partitions import finishing, seeing
from adapters.ledger.postgres.session import STATEMENT_TIMEOUT_S, Session
from adapters.ledger.postgres.statements import named
from adapters.ledger.refusals import finished_before, lost
from adapters.ledger.spans import merged
from contracts.message import Envelope
from contracts.ports.database import Guard, Tx
from contracts.ports.parking import Parked, ToPark
from contracts.ports.partitions import Hold

SQL = named("parking.sql")

_envelope = msgspec.msgpack.Decoder(Envelope)


class PostgresParking:
    """Implements `Parking`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def park(self, hold: Hold, messages: Sequence[ToPark]) -> None:
        if not messages:
            return
        spans = merged((message.position, message.position + 1) for message in messages)

        async def park(connection: Any) -> None:
            async with connection.transaction():
                row = await connection.fetchrow(SQL["hold"], *_held(hold), timeout=STATEMENT_TIMEOUT_S)
                if row is None:
                    raise lost(hold)
                await put(connection, [(row["id"], message) for message in messages])
                if await connection.fetchrow(*finishing(hold, spans), timeout=STATEMENT_TIMEOUT_S) is None:
                    raise finished_before(hold, spans)

        await self._session.run(park, repeatable=False)

    async def lanes(self, hold: Hold, *, among: Sequence[str] | None = None) -> frozenset[str]:
        if among is None:
            rows = await self._session.rows(SQL["lanes"], *_held(hold))
        else:
            rows = await self._session.rows(SQL["lanes_among"], *_held(hold), [storable.key(lane) for lane in among])
        if not rows:
            raise lost(hold)
        return frozenset(lane for row in rows if (lane := _lane(row)) is not None)

    async def due(self, holds: Sequence[Hold], *, limit: int) -> list[Parked]:
        if not holds:
            return []
        rows = await self._session.rows(SQL["due"], *_columns(holds), limit)
        return [
            Parked(
                number=row["number"],
                hold=holds[row["nth"] - 1],
                envelope=_envelope.decode(row["envelope"]),
                position=int(row["position"]),
                lane=_lane(row),
                attempt=row["attempt"],
                error=row["error"],
                suspect=row["suspect"],
            )
            for row in rows
        ]

    async def next_due_s(self, holds: Sequence[Hold]) -> float | None:
        if not holds:
            return None
        row = await self._session.row(SQL["next_due"], *_columns(holds))
        due_s: float | None = row[0]
        return due_s

    async def postpone(self, parked: Parked, *, attempt: int, after_s: float, error: str = "") -> None:
        args = (attempt, wait_s(after_s), storable.cut(error))
        if await self._session.row(SQL["postpone"], *_held(parked.hold), parked.number, *args) is None:
            raise lost(parked.hold)

    async def charge(self, parked: Parked) -> int:
        row = await self._session.row(SQL["charge"], *_held(parked.hold), parked.number)
        if row is None:
            raise lost(parked.hold, "or the message waits no more")
        return int(row["charges"])

    async def acquit(self, parked: Parked) -> None:
        await self._session.rows(SQL["acquit"], *_held(parked.hold), parked.number)

    def transaction(
        self, parked: Parked, *, name: str, ids: Sequence[str] = (), dedupe_s: float = 0.0
    ) -> AbstractAsyncContextManager[Tx]:
        args, fence = (*_removing(parked), *seeing(ids, dedupe_s)), fences.of_partition(parked.hold)
        guard = Guard(sql=SQL["remove"], args=args, fence=fence)
        return self._session.db.scoped(name=name, guard=guard).transaction()

    async def remove(self, parked: Parked) -> None:
        row = await self._session.row(SQL["remove_if_there"], *_removing(parked))
        if row["removed"] is None:
            raise lost(parked.hold)


async def put(connection: Any, messages: Sequence[tuple[int, ToPark]]) -> None:
    """Park messages by their partitions' ids, as a part of a transaction."""
    ids = [id_ for id_, _ in messages]
    parked = [message for _, message in messages]
    lanes = [storable.key(message.lane) for message in parked]
    await connection.execute(SQL["lock_lanes"], ids, texts(lanes), timeout=STATEMENT_TIMEOUT_S)
    await connection.execute(
        SQL["park"],
        ids,
        numbers([message.position for message in parked]),
        texts(lanes),
        [
            None if message.lane in (None, lane) else (message.lane or "").encode("utf-8", "surrogatepass")
            for message, lane in zip(parked, lanes, strict=True)
        ],
        [message.due_at for message in parked],
        numbers([wait_s(message.after_s) for message in parked]),
        numbers([message.attempt for message in parked]),
        texts([storable.cut(message.error) for message in parked]),
        [msgspec.msgpack.encode(message.envelope) for message in parked],
        timeout=STATEMENT_TIMEOUT_S,
    )


def _lane(row: Any) -> str | None:
    whole: bytes | None = row["lane_whole"]
    lane: str | None = row["lane"]
    return lane if whole is None else whole.decode("utf-8", "surrogatepass")


def _held(hold: Hold) -> tuple[Any, ...]:
    return hold.group, hold.partition.address, hold.partition.index, hold.epoch


def _removing(parked: Parked) -> tuple[Any, ...]:
    return (*_held(parked.hold), parked.number, storable.key(parked.lane))


def _columns(holds: Sequence[Hold]) -> tuple[Any, ...]:
    return (
        [hold.group for hold in holds],
        [hold.partition.address for hold in holds],
        [hold.partition.index for hold in holds],
        [hold.epoch for hold in holds],
    )
