"""Dead letters, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from adapters.ledger import again, storable
from adapters.ledger.memory.books import Books, Row
from adapters.ledger.memory.parking import MemoryParking
from adapters.ledger.memory.queue import MemoryQueue
from contracts.errors import NotFound
from contracts.message import Partition
from contracts.ports.database import Tx
from contracts.ports.ledger import DeadLetter, LetterFilter, Replayed

LONG_AGO = datetime.min.replace(tzinfo=UTC)


class MemoryDeadLetters:
    """Implements `DeadLetters`."""

    def __init__(self, books: Books, parking: MemoryParking, queue: MemoryQueue) -> None:
        self._books = books
        self._parking = parking
        self._queue = queue

    async def bury(self, letters: Sequence[DeadLetter], *, tx: Tx | None = None) -> None:
        """Within a transaction of this ledger; any other one can't be known here."""
        kept = list(map(storable.letter, letters))
        stage = getattr(tx, "stage", None)
        if stage is not None:
            stage(lambda: self._keep(kept))
        else:
            self._keep(kept)

    async def replay(self, letters: Sequence[DeadLetter], *, most: int) -> list[Replayed]:
        names = [again.name_of(storable.letter(letter)) for letter in letters]
        found = again.in_order(self._books.letters[name] for name in set(names) if name in self._books.letters)
        became = {again.name_of(letter): await self._replay(letter, most) for letter in found}
        # A letter that is named twice is sent once.
        return [became.pop(name, "gone") for name in names]

    async def list(self, wanted: LetterFilter) -> list[DeadLetter]:
        ids = {storable.cut(id_, keep=storable.NAME_BYTES) for id_ in wanted.ids}
        found = [
            letter
            for letter in self._books.letters.values()
            if (not ids or letter.id in ids)
            and wanted.address in (None, letter.address)
            and wanted.group in (None, letter.group)
            and wanted.reason in (None, letter.reason)
            and (wanted.since is None or _at(letter) >= wanted.since)
            and (wanted.until is None or _at(letter) < wanted.until)
            and letter.headers.items() >= wanted.headers.items()
            and (wanted.before is None or (_at(letter), letter.id) < wanted.before)
        ]
        return sorted(found, key=lambda letter: (_at(letter), letter.id), reverse=True)[: wanted.limit]

    async def edit(self, letter: DeadLetter) -> None:
        name = again.name_of(storable.letter(letter))
        if (kept := self._books.letters.get(name)) is None:
            raise NotFound(f"there is no dead letter {letter.id!r} of {letter.address!r} (any more)")
        self._books.letters[name] = again.with_content_of(kept, storable.letter(letter))

    async def drop(self, letters: Sequence[DeadLetter]) -> int:
        names = {again.name_of(storable.letter(letter)) for letter in letters} & self._books.letters.keys()
        for name in names:
            del self._books.letters[name]
        return len(names)

    async def prune(self, *, keep: timedelta, batch: int = 1000) -> int:
        until = self._books.now() - keep
        old = [name for name, letter in self._books.letters.items() if _at(letter) < until]
        for name in old[:batch]:
            del self._books.letters[name]
        return len(old[:batch])

    def _keep(self, letters: Sequence[DeadLetter]) -> None:
        for letter in letters:
            buried = msgspec.structs.replace(letter, buried_at=letter.buried_at or self._books.tick())
            self._books.letters[again.name_of(letter)] = buried

    async def _replay(self, letter: DeadLetter, most: int) -> Replayed:
        if letter.replays >= most:
            return "too often"
        del self._books.letters[again.name_of(letter)]
        if letter.partition is None:
            await self._queue.record([again.to_record(letter)])
        else:
            of = (letter.group, Partition(letter.address, letter.partition))
            self._parking.put(self._books.partitions.setdefault(of, Row()), [again.to_park(letter)])
            self._books.wake()
        return "parked"


def _at(letter: DeadLetter) -> datetime:
    return letter.buried_at or LONG_AGO
