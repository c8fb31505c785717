"""Positions of streams, in memory."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta

from adapters.ledger import storable
from adapters.ledger.berths import berth, same_place
from adapters.ledger.memory.books import Books, Row
from adapters.ledger.memory.tx import MemoryTx
from adapters.ledger.refusals import finished_before, lost, other_incarnation, still_held
from adapters.ledger.spans import apart, checked, covers, meets, merged, put
from contracts.message import Partition
from contracts.ports.database import Tx
from contracts.ports.partitions import Hold, Holding, Known, Reported, Span, Taken


class MemoryPartitions:
    """Implements `Partitions`; nothing in it awaits, so every method is atomic, and so is a transaction's end."""

    def __init__(self, books: Books) -> None:
        self._books = books

    async def take(
        self, group: str, partition: Partition, *, worker_id: str, incarnation: str, durable: bool = True
    ) -> Taken:
        storable.name(group, what="group")
        storable.name(partition.address, what="address")
        if not durable:
            partition = self._berth(group, partition, incarnation)
        row = self._books.partitions.setdefault((group, partition), Row())
        if row.incarnation not in (None, incarnation):
            if durable and row.position is not None:
                raise other_incarnation(
                    group, partition, stored=row.incarnation or "", came=incarnation, position=row.position
                )
            row.position = row.reach = row.suspects_below = None
            row.finished, row.charged, row.state = [], {}, {}
        if row.worker_id is None:
            row.suspects_below = None
        elif row.worker_id != worker_id:
            row.suspects_below = _greatest(row.reach, row.suspects_below)
            row.suspect_epoch = row.epoch + 1
        row.epoch += 1
        row.incarnation, row.worker_id = incarnation, worker_id
        row.taken_at, row.reported_at = self._books.now(), None
        row.lag = row.open = 0
        return Taken(
            hold=Hold(group, partition, row.epoch),
            position=row.position,
            finished=tuple(row.finished),
            suspects_below=row.suspects_below,
        )

    async def report(self, reports: Sequence[Reported]) -> list[bool]:
        return [self._report(said) for said in reports]

    async def leave(self, hold: Hold, *, position: int | None, finished: Sequence[Span] = ()) -> bool:
        spans = [checked(span) for span in finished]
        if (row := self._books.row_of(hold)) is None:
            return False
        row.worker_id = row.suspects_below = None
        row.reported_at = self._books.now()
        row.lag = row.open = 0
        row.position = _greatest(row.position, position)
        row.finished = merged([*row.finished, *spans], floor=row.position)
        return True

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
        spans = apart(besides if span is None else (span, *besides))
        return self._transaction(hold, spans, ids if dedupe_s > 0 else (), dedupe_s)

    async def finish(self, hold: Hold, span: Span) -> None:
        self.settle(hold, [checked(span)])

    async def known(self, hold: Hold, *, positions: Sequence[int] = (), ids: Sequence[str] = ()) -> Known:
        row = self._books.partitions.get((hold.group, hold.partition), Row())
        return Known(
            frozenset(at for at in positions if at < (row.position or 0) or covers(row.finished, at)),
            frozenset(id_ for id_ in ids if self._was_seen(hold, id_)),
        )

    async def charge(self, hold: Hold, position: int) -> int:
        if (row := self._books.row_of(hold)) is None:
            raise lost(hold)
        charged = row.charged.setdefault(position, set())
        charged.add(hold.epoch)
        return len(charged)

    async def acquit(self, hold: Hold, position: int) -> None:
        row = self._books.partitions.get((hold.group, hold.partition), Row())
        row.charged.get(position, set()).discard(hold.epoch)

    async def holdings(self) -> list[Holding]:
        return [
            Holding(
                group=group,
                partition=partition,
                epoch=row.epoch,
                worker_id=row.worker_id,
                taken_at=row.taken_at,
                reported_at=row.reported_at,
                position=row.position,
                lag=row.lag,
                open=row.open,
                parked=len(row.parked),
            )
            for (group, partition), row in sorted(self._books.partitions.items(), key=lambda one: one[0])
        ]

    async def reset(self, group: str, address: str, *, to: int | None) -> int:
        rows = [
            (partition.index, row)
            for (of, partition), row in sorted(self._books.partitions.items(), key=lambda one: one[0])
            if (of, partition.address) == (group, address)
        ]
        held = [(index, row.worker_id) for index, row in rows if row.worker_id and self._books.lives(row.worker_id)]
        if held:
            raise still_held(group, address, held)
        for _, row in rows:
            row.epoch += 1
            row.position, row.finished, row.charged, row.state = to, [], {}, {}
            row.incarnation = row.reach = row.suspects_below = row.worker_id = None
            row.lag = row.open = 0
        return len(rows)

    async def prune(self, *, batch: int = 1000) -> int:
        self._adopt()
        now = self._books.now()
        old = [name for name, until in self._books.seen.items() if until <= now][:batch]
        for name in old:
            del self._books.seen[name]
        return len(old)

    def see(self, hold: Hold, ids: Sequence[str], dedupe_s: float) -> None:
        """Mark the ids as seen: all of them, or `LeaseLost`."""
        if any(self._was_seen(hold, id_) for id_ in ids):
            raise lost(hold, "or a message of the same id was handled before")
        until = self._books.now() + timedelta(seconds=dedupe_s)
        self._books.seen.update({self._seen_as(hold, id_): until for id_ in ids})

    def settle(self, hold: Hold, spans: Sequence[Span]) -> Row:
        """Mark the spans, which don't meet each other, as finished: all of them, or `LeaseLost`."""
        row = self.may_settle(hold, spans)
        for span in spans:
            put(row.finished, span)
        return row

    def may_settle(self, hold: Hold, spans: Sequence[Span]) -> Row:
        """Raises `LeaseLost` where they can't be."""
        if (row := self._books.row_of(hold)) is None:
            raise lost(hold)
        for span in spans:
            if span[0] < (row.position or 0) or meets(row.finished, span):
                raise finished_before(hold, [span])
        return row

    def _berth(self, group: str, partition: Partition, incarnation: str) -> Partition:
        """The own row of this process, or the first that no other living worker has."""
        places = [berth(partition, number) for number in range(len(self._books.partitions) + 1)]
        rows = {place: row for place in places if (row := self._books.partitions.get((group, place)))}
        own = (place for place, row in rows.items() if row.incarnation == incarnation)
        free = (place for place in places if place not in rows or not self._books.lives(rows[place].worker_id))
        return next(itertools.chain(own, free))

    def _adopt(self) -> None:
        """What waits in the rows of processes that are gone is the business of another one of the same partition."""
        for (group, partition), row in self._books.partitions.items():
            if not row.parked or self._books.lives(row.worker_id):
                continue
            heirs = (
                other
                for (of, place), other in sorted(self._books.partitions.items(), key=lambda one: one[0])
                if of == group and same_place(place, partition) and self._books.lives(other.worker_id)
            )
            if (heir := next(heirs, None)) is not None:
                heir.parked.update(row.parked)
                row.parked.clear()

    @asynccontextmanager
    async def _transaction(
        self, hold: Hold, spans: list[Span], ids: Sequence[str], dedupe_s: float
    ) -> AsyncIterator[Tx]:
        tx = MemoryTx()
        yield tx
        self.may_settle(hold, spans)
        self.see(hold, ids, dedupe_s)
        self.settle(hold, spans)
        tx.apply()

    def _report(self, said: Reported) -> bool:
        if (row := self._books.row_of(said.hold)) is None:
            return False
        row.position = _greatest(row.position, said.position)
        row.reach = _greatest(row.reach, said.reach)
        row.lag, row.open, row.reported_at = said.lag, said.open, self._books.now()
        if (below := _greatest(row.position, said.needless_below)) is not None:
            row.finished = merged(row.finished, floor=below)
            row.charged = {at: epochs for at, epochs in row.charged.items() if at >= below}
        return True

    def _seen_as(self, hold: Hold, id_: str) -> tuple[str, str, str]:
        return hold.group, hold.partition.address, storable.key(id_) or ""

    def _was_seen(self, hold: Hold, id_: str) -> bool:
        until = self._books.seen.get(self._seen_as(hold, id_))
        return until is not None and until > self._books.now()


def _greatest(one: int | None, other: int | None) -> int | None:
    return max((at for at in (one, other) if at is not None), default=None)
