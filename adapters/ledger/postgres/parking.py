"""Messages that wait, on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import msgspec

from adapters.ledger import storable
from adapters.ledger.ending import wait_s
from adapters.ledger.postgres.literals import numbers, texts
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
        lanes = [lane for message in messages if (lane := storable.key(message.lane)) is not None]
        firsts, pasts = numbers([first for first, _ in spans]), numbers([past for _, past in spans])

        async def park(connection: Any) -> None:
            async with connection.transaction():
                row = await connection.fetchrow(SQL["lock_lanes"], *_held(hold), lanes, timeout=STATEMENT_TIMEOUT_S)
                if row is None:
                    raise lost(hold)
                marked = await connection.fetch(
                    SQL["finish_many"], row["id"], firsts, pasts, timeout=STATEMENT_TIMEOUT_S
                )
                if len(marked) < len(spans):
                    raise finished_before(hold, spans)
                await put(connection, [(row["id"], message) for message in messages])

        await self._session.run(park, repeatable=False)

    async def lanes(self, hold: Hold) -> frozenset[str]:
        rows = await self._session.rows(SQL["lanes"], *_held(hold))
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
                charges=row["charges"],
                error=row["error"],
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
        row = await self._session.row(SQL["charge"], *_held(parked.hold), parked.number, repeatable=False)
        if row is None:
            raise lost(parked.hold, "or the message waits no more")
        return int(row["charges"])

    def transaction(self, parked: Parked, *, name: str) -> AbstractAsyncContextManager[Tx]:
        return self._transaction(parked, name)

    async def remove(self, parked: Parked) -> None:
        async def remove(connection: Any) -> None:
            async with connection.transaction():
                if await connection.fetchrow(SQL["lock_lanes"], *_lane_of(parked), timeout=STATEMENT_TIMEOUT_S) is None:
                    raise lost(parked.hold)
                await connection.fetch(SQL["remove"], *_held(parked.hold), parked.number, timeout=STATEMENT_TIMEOUT_S)

        await self._session.run(remove)

    @asynccontextmanager
    async def _transaction(self, parked: Parked, name: str) -> AsyncIterator[Tx]:
        guard = Guard(sql=SQL["remove"], args=(*_held(parked.hold), parked.number))
        async with self._session.db.scoped(name=name, guard=guard).transaction() as tx:
            yield tx
            if parked.lane is not None and await tx.fetch_one(SQL["lock_lanes"], *_lane_of(parked)) is None:
                raise lost(parked.hold)


async def lock_lanes(connection: Any, messages: Sequence[tuple[int, ToPark]]) -> None:
    """Lock the lanes of messages by their partitions' ids, until the end of the transaction."""
    lanes = [storable.key(message.lane) for _, message in messages]
    await connection.execute(SQL["lock_lanes_of"], [id_ for id_, _ in messages], lanes, timeout=STATEMENT_TIMEOUT_S)


async def put(connection: Any, messages: Sequence[tuple[int, ToPark]]) -> None:
    """Park messages by their partitions' ids, within a transaction that has locked their lanes."""
    parked = [message for _, message in messages]
    lanes = [storable.key(message.lane) for message in parked]
    await connection.execute(
        SQL["park"],
        [id_ for id_, _ in messages],
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


def _lane_of(parked: Parked) -> tuple[Any, ...]:
    lane = storable.key(parked.lane)
    return (*_held(parked.hold), [] if lane is None else [lane])


def _columns(holds: Sequence[Hold]) -> tuple[Any, ...]:
    return (
        [hold.group for hold in holds],
        [hold.partition.address for hold in holds],
        [hold.partition.index for hold in holds],
        [hold.epoch for hold in holds],
    )
