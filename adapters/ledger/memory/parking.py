"""Messages that wait, in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timedelta

from adapters.ledger import storable
from adapters.ledger.ending import wait_s
from adapters.ledger.memory.books import Books, Row, Waiting
from adapters.ledger.memory.partitions import MemoryPartitions
from adapters.ledger.memory.tx import MemoryTx
from adapters.ledger.refusals import lost
from adapters.ledger.spans import merged
from contracts.ports.database import Tx
from contracts.ports.parking import Parked, ToPark
from contracts.ports.partitions import Hold


class MemoryParking:
    """Implements `Parking`; nothing in it awaits, so every method is atomic, and so is a transaction's end."""

    def __init__(self, books: Books, partitions: MemoryPartitions) -> None:
        self._books = books
        self._partitions = partitions

    async def park(self, hold: Hold, messages: Sequence[ToPark]) -> None:
        if messages:
            row = self._partitions.settle(hold, merged((one.position, one.position + 1) for one in messages))
            self.put(row, messages)

    async def lanes(self, hold: Hold, *, among: Sequence[str] | None = None) -> frozenset[str]:
        row = self._held(hold)
        lanes = frozenset(one.message.lane for one in row.parked.values() if one.message.lane is not None)
        return lanes if among is None else lanes.intersection(among)

    async def due(self, holds: Sequence[Hold], *, limit: int) -> list[Parked]:
        now = self._books.now()
        found = [(one, number, hold) for hold in holds for number, one in self._heads(hold) if one.due_at <= now]
        found.sort(key=lambda entry: (entry[0].due_at, entry[1]))
        return [
            Parked(
                number=number,
                hold=hold,
                envelope=one.message.envelope,
                position=one.message.position,
                lane=one.message.lane,
                attempt=one.attempt,
                error=one.error,
                suspect=self._is_suspect(hold, one),
            )
            for one, number, hold in found[:limit]
        ]

    async def next_due_s(self, holds: Sequence[Hold]) -> float | None:
        due: list[datetime] = [one.due_at for hold in holds for _, one in self._heads(hold)]
        return (min(due) - self._books.now()).total_seconds() if due else None

    async def postpone(self, parked: Parked, *, attempt: int, after_s: float, error: str = "") -> None:
        if one := self._held(parked.hold).parked.get(parked.number):
            one.attempt, one.error, one.epoch = attempt, storable.cut(error), parked.hold.epoch
            one.charged.discard(parked.hold.epoch)
            one.due_at = self._books.tick() + timedelta(seconds=wait_s(after_s))

    async def charge(self, parked: Parked) -> int:
        if (one := self._held(parked.hold).parked.get(parked.number)) is None:
            raise lost(parked.hold, "or the message waits no more")
        one.charged.add(parked.hold.epoch)
        return len(one.charged)

    async def acquit(self, parked: Parked) -> None:
        row = self._books.partitions.get((parked.hold.group, parked.hold.partition), Row())
        if one := row.parked.get(parked.number):
            one.charged.discard(parked.hold.epoch)

    def transaction(
        self, parked: Parked, *, name: str, ids: Sequence[str] = (), dedupe_s: float = 0.0
    ) -> AbstractAsyncContextManager[Tx]:
        return self._transaction(parked, ids if dedupe_s > 0 else (), dedupe_s)

    async def remove(self, parked: Parked) -> None:
        self._held(parked.hold).parked.pop(parked.number, None)

    def put(self, row: Row, messages: Sequence[ToPark]) -> None:
        """Whoever holds the partition."""
        now = self._books.tick()  # what was put earlier is due earlier
        for message in messages:
            row.parked[next(self._books.parked)] = Waiting(
                message=message,
                due_at=message.due_at or now + timedelta(seconds=wait_s(message.after_s)),
                attempt=message.attempt,
                error=storable.cut(message.error),
                epoch=row.epoch,
                charged=set(),
            )

    @asynccontextmanager
    async def _transaction(self, parked: Parked, ids: Sequence[str], dedupe_s: float) -> AsyncIterator[Tx]:
        tx = MemoryTx()
        yield tx
        row = self._held(parked.hold)
        if parked.number not in row.parked:
            raise lost(parked.hold, "or the message waits no more")
        self._partitions.see(parked.hold, ids, dedupe_s)
        del row.parked[parked.number]
        tx.apply()

    def _held(self, hold: Hold) -> Row:
        if (row := self._books.row_of(hold)) is None:
            raise lost(hold)
        return row

    def _is_suspect(self, hold: Hold, one: Waiting) -> bool:
        return one.epoch < self._held(hold).suspect_epoch

    def _heads(self, hold: Hold) -> Iterator[tuple[int, Waiting]]:
        """The first of each lane, and those without one; none for a hold that is over."""
        row = self._books.row_of(hold)
        lanes: set[str] = set()
        for number, one in row.parked.items() if row is not None else ():
            lane = one.message.lane
            if lane is None or lane not in lanes:
                yield number, one
            if lane is not None:
                lanes.add(lane)
