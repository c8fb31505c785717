"""Dead letters, on PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import msgspec

from adapters.ledger import storable
from adapters.ledger.postgres.session import Session
from adapters.ledger.postgres.statements import named
from contracts.ports.ledger import DeadLetter

SQL = named("dead_letters.sql")

_headers = msgspec.json.Decoder(dict[str, str])


class PostgresDeadLetters:
    """Implements `DeadLetters`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        if not letters:
            return
        kept = [storable.letter(letter) for letter in letters]
        await self._session.rows(
            SQL["bury"],
            [letter.address for letter in kept],
            [letter.id for letter in kept],
            [letter.reason for letter in kept],
            [letter.body for letter in kept],
            [letter.error for letter in kept],
            [letter.traceback for letter in kept],
            [letter.key for letter in kept],
            [storable.headers(letter.headers) for letter in kept],
            [letter.origin for letter in kept],
            [letter.correlation_id for letter in kept],
            [letter.buried_at for letter in kept],
        )

    async def list(self, *, address: str | None = None, limit: int = 50) -> list[DeadLetter]:
        rows = await self._session.rows(SQL["list"], address, limit)
        return [DeadLetter(**{**row, "headers": _headers.decode(row["headers"])}) for row in rows]

    async def prune(self, *, keep: timedelta, batch: int = 1000) -> int:
        row = await self._session.row(SQL["prune"], keep, batch)
        return int(row[0])
