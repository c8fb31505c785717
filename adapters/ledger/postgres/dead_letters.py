"""Dead letters, on PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec

from adapters.ledger import again, storable
from adapters.ledger.postgres import parking
from adapters.ledger.postgres.arrays import columns_of
from adapters.ledger.postgres.literals import numbers
from adapters.ledger.postgres.session import STATEMENT_TIMEOUT_S, Session
from adapters.ledger.postgres.statements import named
from adapters.ledger.postgres.wakes import CHANNEL
from contracts.errors import NotFound
from contracts.ports.database import Tx
from contracts.ports.ledger import DeadLetter, LetterFilter, Replayed

SQL = named("dead_letters.sql")
QUEUE = named("queue.sql")

_headers = msgspec.json.Decoder(dict[str, str])


class PostgresDeadLetters:
    """Implements `DeadLetters`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def bury(self, letters: Sequence[DeadLetter], *, tx: Tx | None = None) -> None:
        if not letters:
            return
        kept = list({again.name_of(letter): letter for letter in map(storable.letter, letters)}.values())
        args = (
            *_names(kept),
            [letter.reason for letter in kept],
            [letter.body for letter in kept],
            [letter.error for letter in kept],
            [letter.traceback for letter in kept],
            [letter.key for letter in kept],
            [storable.headers(letter.headers) for letter in kept],
            [letter.origin for letter in kept],
            [letter.partition for letter in kept],
            numbers([letter.position for letter in kept]),
            [letter.attempts for letter in kept],
            [letter.replays for letter in kept],
            [letter.correlation_id for letter in kept],
            [letter.buried_at for letter in kept],
        )
        if tx is not None:
            await tx.execute(SQL["bury"], *args)
        else:
            await self._session.rows(SQL["bury"], *args)

    async def replay(self, letters: Sequence[DeadLetter], *, most: int) -> list[Replayed]:
        names = [again.name_of(storable.letter(letter)) for letter in letters]

        async def replay(connection: Any) -> dict[tuple[str, str, str], Replayed]:
            async with connection.transaction():
                return await _replay(connection, names, most)

        became = await self._session.run(replay, repeatable=False) if names else {}
        # A letter that is named twice is sent once.
        return [became.pop(name, "gone") for name in names]

    async def list(self, wanted: LetterFilter) -> list[DeadLetter]:
        before_at, before_id = wanted.before or (None, None)
        rows = await self._session.ask(
            SQL["list"],
            [storable.cut(id_, keep=storable.NAME_BYTES) for id_ in wanted.ids] or None,
            wanted.address,
            wanted.group,
            wanted.reason,
            wanted.since,
            wanted.until,
            storable.headers(wanted.headers) if wanted.headers else None,
            before_at,
            before_id,
            wanted.limit,
        )
        return [_letter(row) for row in rows]

    async def edit(self, letter: DeadLetter) -> None:
        kept = storable.letter(letter)
        args = (*again.name_of(kept), kept.body, kept.key, storable.headers(kept.headers))
        if await self._session.row(SQL["edit"], *args) is None:
            raise NotFound(f"there is no dead letter {letter.id!r} of {letter.address!r} (any more)")

    async def drop(self, letters: Sequence[DeadLetter]) -> int:
        row = await self._session.row(SQL["drop"], *_names([storable.letter(letter) for letter in letters]))
        return int(row[0])

    async def prune(self, *, keep: timedelta, batch: int = 1000) -> int:
        row = await self._session.row(SQL["prune"], keep, batch)
        return int(row[0])


async def _replay(
    connection: Any, names: Sequence[tuple[str, str, str]], most: int
) -> dict[tuple[str, str, str], Replayed]:
    rows = await _fetch(connection, SQL["lock"], *map(list, zip(*sorted(set(names)), strict=True)))
    found = again.in_order(map(_letter, rows))
    again_ = [letter for letter in found if letter.replays < most]
    await _park(connection, [letter for letter in again_ if letter.partition is not None])
    await _record(connection, [letter for letter in again_ if letter.partition is None])
    if again_:
        await _fetch(connection, SQL["drop"], *_names(again_))
    return {again.name_of(letter): "parked" if letter.replays < most else "too often" for letter in found}


async def _park(connection: Any, letters: Sequence[DeadLetter]) -> None:
    if not letters:
        return
    columns = ([one.group for one in letters], [one.address for one in letters], [one.partition for one in letters])
    await _fetch(connection, SQL["make_partitions"], *columns)
    ids = [row["id"] for row in await _fetch(connection, SQL["partitions"], *columns)]
    messages = [again.to_park(letter) for letter in letters]
    await parking.put(connection, list(zip(ids, messages, strict=True)))
    await _fetch(connection, SQL["told"], CHANNEL)


async def _record(connection: Any, letters: Sequence[DeadLetter]) -> None:
    if letters:
        fresh = {letter.id: (place, again.to_record(letter)) for place, letter in enumerate(letters)}
        await _fetch(connection, QUEUE["record"], *columns_of(fresh), None, [], [], CHANNEL)


async def _fetch(connection: Any, sql: str, *args: Any) -> list[Any]:
    rows: list[Any] = await connection.fetch(sql, *args, timeout=STATEMENT_TIMEOUT_S)
    return rows


def _names(letters: Sequence[DeadLetter]) -> tuple[list[str], list[str], list[str]]:
    return (
        [letter.address for letter in letters],
        [letter.group for letter in letters],
        [letter.id for letter in letters],
    )


def _letter(row: Any) -> DeadLetter:
    position = row["position"]
    return DeadLetter(
        **{
            **row,
            "headers": _headers.decode(row["headers"]),
            "position": None if position is None else int(position),
        }
    )
