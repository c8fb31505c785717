"""Positions of streams, on PostgreSQL."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, TypeVar

import asyncpg

from adapters.ledger import storable
from adapters.ledger.berths import APART
from adapters.ledger.postgres import fences
from adapters.ledger.postgres.literals import numbers, texts
from adapters.ledger.postgres.session import STATEMENT_TIMEOUT_S, Session
from adapters.ledger.postgres.statements import named
from adapters.ledger.refusals import finished_before, lost, other_incarnation, still_held
from adapters.ledger.spans import apart, checked, merged
from contracts.errors import Conflict, Unavailable
from contracts.message import Partition
from contracts.ports.database import Guard, Tx
from contracts.ports.partitions import Hold, Holding, Known, Reported, Span, Taken

SQL = named("partitions.sql")
T = TypeVar("T")

LOCK_TIMEOUT_MS = 1000
LOCK_TRIES = 6
STALLED_S = 2.0
"""Between the last statement of a transaction and its commit there is nothing to do for its process."""


class PostgresPartitions:
    """Implements `Partitions`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def take(
        self, group: str, partition: Partition, *, worker_id: str, incarnation: str, durable: bool = True
    ) -> Taken:
        storable.name(group, what="group")
        storable.name(partition.address, what="address")
        take = self._take if durable else self._take_berth
        return await take(group, partition, worker_id, incarnation)

    async def _take(self, group: str, partition: Partition, worker_id: str, incarnation: str) -> Taken:
        """The epoch is raised first, by itself: what waits for commits under way then waits for no new ones."""
        named_ = (group, partition.address, partition.index)
        raised = await self._session.row(SQL["raise_epoch"], *named_, incarnation, True)
        if raised is None:
            raise await self._other_incarnation(named_, incarnation)
        hold = Hold(group, partition, raised["epoch"])

        taken = await self._settled(lambda connection: _take(connection, hold, worker_id, incarnation, durable=True))
        if taken is None:
            raise await self._other_incarnation(named_, incarnation)
        return taken

    async def _take_berth(self, group: str, partition: Partition, worker_id: str, incarnation: str) -> Taken:
        """All of it in one transaction: two processes that start together must not choose the same place."""

        async def settle_in(connection: Any) -> Taken | None:
            named_ = (group, partition.address, partition.index)
            await _row(connection, SQL["berth_lock"], *named_)
            [index] = await _row(connection, SQL["berth"], *named_, incarnation, APART)
            place = Partition(partition.address, index)
            raised = await _row(connection, SQL["raise_epoch"], group, place.address, index, incarnation, False)
            hold = Hold(group, place, raised["epoch"])
            return await _take(connection, hold, worker_id, incarnation, durable=False)

        taken = await self._settled(settle_in)
        assert taken is not None, "only a durable bus refuses another incarnation"
        return taken

    async def report(self, reports: Sequence[Reported]) -> list[bool]:
        if not reports:
            return []
        last = list({said.hold: said for said in reports}.values())
        rows = await self._session.rows(
            SQL["report"],
            texts([said.hold.group for said in last]),
            texts([said.hold.partition.address for said in last]),
            numbers([said.hold.partition.index for said in last]),
            numbers([said.hold.epoch for said in last]),
            numbers([said.position for said in last]),
            numbers([said.reach for said in last]),
            numbers([said.lag for said in last]),
            numbers([said.open for said in last]),
            numbers([said.needless_below for said in last]),
        )
        kept = {last[row["number"] - 1].hold for row in rows}
        return [said.hold in kept for said in reports]

    async def leave(self, hold: Hold, *, position: int | None, finished: Sequence[Span] = ()) -> bool:
        async def leave(connection: Any) -> bool:
            async with connection.transaction():
                row = await _row(connection, SQL["lock"], *_named(hold))
                if row is None or row["epoch"] != hold.epoch:
                    return False
                left = await _row(connection, SQL["leave"], row["id"], _text(position))
                await _compact(connection, row["id"], _int(left["position"]), map(checked, finished))
                return True

        return await self._session.run(leave)

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
        sql, *args = finishing(hold, besides if span is None else (span, *besides), ids=ids, dedupe_s=dedupe_s)
        guard = Guard(sql=sql, args=tuple(args), fence=fences.of_partition(hold))
        return self._session.db.scoped(name=name, guard=guard).transaction()

    async def finish(self, hold: Hold, span: Span) -> None:
        if await self._session.row(*finishing(hold, [span]), repeatable=False) is None:
            raise finished_before(hold, [span])

    async def known(self, hold: Hold, *, positions: Sequence[int] = (), ids: Sequence[str] = ()) -> Known:
        kept = {storable.key(id_) or "": id_ for id_ in ids}
        row = await self._session.row(SQL["known"], *_named(hold), numbers(positions), list(kept))
        return Known(frozenset(map(int, row["positions"])), frozenset(kept[id_] for id_ in row["ids"]))

    async def charge(self, hold: Hold, position: int) -> int:
        row = await self._session.row(SQL["charge"], *_named(hold), hold.epoch, str(position))
        if row is None:
            raise lost(hold)
        return int(row["times"])

    async def acquit(self, hold: Hold, position: int) -> None:
        await self._session.rows(SQL["acquit"], *_named(hold), hold.epoch, str(position))

    async def holdings(self) -> list[Holding]:
        return [
            Holding(
                group=row["group_name"],
                partition=Partition(row["address"], row["index"]),
                epoch=row["epoch"],
                worker_id=row["worker_id"],
                taken_at=row["taken_at"],
                reported_at=row["reported_at"],
                position=_int(row["position"]),
                lag=row["lag"],
                open=row["open"],
                parked=row["parked"],
            )
            for row in await self._session.ask(SQL["holdings"])
        ]

    async def reset(self, group: str, address: str, *, to: int | None) -> int:
        async def reset(connection: Any) -> int:
            async with connection.transaction():
                rows = await connection.fetch(SQL["lock_all"], group, address, timeout=STATEMENT_TIMEOUT_S)
                holders = await connection.fetch(SQL["living_holders"], group, address, timeout=STATEMENT_TIMEOUT_S)
                if holders:
                    raise still_held(group, address, [(row["index"], row["worker_id"]) for row in holders])
                done = await _row(connection, SQL["reset"], [row["id"] for row in rows], _text(to))
                return int(done[0])

        await self._session.rows(SQL["raise_all"], group, address)
        return await self._unhindered(reset)

    async def prune(self, *, batch: int = 1000) -> int:
        row = await self._session.row(SQL["prune"], batch)
        return int(row[0])

    async def adopt(self) -> None:
        async def adopt(connection: Any, orphan: Any) -> None:
            async with connection.transaction():
                for part in ("adopt_followers", "adopt_heads"):
                    await connection.execute(SQL[part], orphan["id"], orphan["heir_id"], timeout=STATEMENT_TIMEOUT_S)

        for orphan in await self._session.ask(SQL["orphans"], APART):
            await self._session.run(partial(adopt, orphan=orphan))

    async def _settled(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """`work` in a transaction that waits for no lock for long."""

        async def within(connection: Any) -> T:
            async with connection.transaction():
                await connection.execute(f"set local lock_timeout = {LOCK_TIMEOUT_MS}", timeout=STATEMENT_TIMEOUT_S)
                return await work(connection)

        return await self._unhindered(within)

    async def _unhindered(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """A process that was stopped on its way to a commit would keep its partition for ever: its session is ended."""
        for _ in range(LOCK_TRIES - 1):
            try:
                return await self._session.run(work)
            except Unavailable as error:
                if not isinstance(error.__cause__, asyncpg.LockNotAvailableError):
                    raise
                await self._session.rows(SQL["end_stalled"], STALLED_S)
        return await self._session.run(work)

    async def _other_incarnation(self, named_: tuple[str, str, int], incarnation: str) -> Conflict:
        row = await self._session.row(SQL["stored"], *named_)
        group, address, index = named_
        position = _int(row["position"]) or 0
        return other_incarnation(
            group, Partition(address, index), stored=row["incarnation"], came=incarnation, position=position
        )


def finishing(
    hold: Hold, spans: Sequence[Span], *, ids: Sequence[str] = (), dedupe_s: float = 0.0
) -> tuple[str, *tuple[Any, ...]]:
    """The statement, with its arguments, that marks spans as finished; no row: roll back."""
    ordered = apart(spans)
    firsts, pasts = numbers([first for first, _ in ordered]), numbers([past for _, past in ordered])
    return SQL["finish"], *_named(hold), hold.epoch, firsts, pasts, *seeing(ids, dedupe_s)


def seeing(ids: Sequence[str], dedupe_s: float) -> tuple[str, float]:
    """The arguments for the ids that a transaction marks as seen."""
    return texts(sorted({storable.key(id_) or "" for id_ in ids}) if dedupe_s > 0 else []), dedupe_s


async def _take(connection: Any, hold: Hold, worker_id: str, incarnation: str, *, durable: bool) -> Taken | None:
    """None: another incarnation came between."""
    row = await _row(connection, SQL["lock"], *_named(hold))
    id_, position = row["id"], _int(row["position"])
    if row["epoch"] != hold.epoch:
        return Taken(hold=hold)  # taken by another since: what there is to know is theirs
    if row["incarnation"] not in (None, incarnation):
        if durable and position is not None:
            return None
        position = None
        for part in ("begin_anew", "clear_spans", "clear_charges", "clear_state"):
            await connection.execute(SQL[part], id_, timeout=STATEMENT_TIMEOUT_S)
    finished = await _compact(connection, id_, position, ())
    held = await _row(connection, SQL["take"], id_, hold.epoch, worker_id, incarnation)
    return Taken(
        hold=hold,
        position=position,
        finished=tuple(finished),
        suspects_below=_int(held["suspects_below"]),
    )


async def _compact(connection: Any, id_: int, position: int | None, more: Any) -> list[Span]:
    """What is finished, with what comes, as few rows as will do."""
    rows = await connection.fetch(SQL["spans"], id_, timeout=STATEMENT_TIMEOUT_S)
    were = [(int(row["first"]), int(row["past"])) for row in rows]
    spans = merged([*were, *more], floor=position)
    if spans != sorted(were):
        await connection.execute(SQL["clear_spans"], id_, timeout=STATEMENT_TIMEOUT_S)
        firsts, pasts = [first for first, _ in spans], [past for _, past in spans]
        await connection.execute(SQL["put_spans"], id_, numbers(firsts), numbers(pasts), timeout=STATEMENT_TIMEOUT_S)
    return spans


async def _row(connection: Any, sql: str, *args: Any) -> Any:
    return await connection.fetchrow(sql, *args, timeout=STATEMENT_TIMEOUT_S)


def _named(hold: Hold) -> tuple[str, str, int]:
    return hold.group, hold.partition.address, hold.partition.index


def _text(position: int | None) -> str | None:
    return None if position is None else str(position)


def _int(position: str | None) -> int | None:
    return None if position is None else int(position)
