"""Dead letters, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import msgspec

from adapters.ledger import storable
from adapters.ledger.memory.books import Books
from contracts.ports.ledger import DeadLetter


class MemoryDeadLetters:
    """Implements `DeadLetters`."""

    def __init__(self, books: Books) -> None:
        self._books = books

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        for letter in map(storable.letter, letters):
            buried = msgspec.structs.replace(letter, buried_at=letter.buried_at or self._books.now())
            self._books.letters.setdefault((letter.address, letter.id), buried)

    async def list(self, *, address: str | None = None, limit: int = 50) -> list[DeadLetter]:
        found = [letter for letter in self._books.letters.values() if address in (None, letter.address)]
        return sorted(found, key=lambda letter: letter.buried_at or self._books.now(), reverse=True)[:limit]

    async def prune(self, *, keep: timedelta, batch: int = 1000) -> int:
        until = self._books.now() - keep
        old = [name for name, letter in self._books.letters.items() if letter.buried_at and letter.buried_at < until]
        for name in old[:batch]:
            del self._books.letters[name]
        return len(old[:batch])
