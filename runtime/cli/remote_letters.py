"""Dead letters that a running worker looks after, asked over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from contracts.errors import NotFound
from contracts.ports.ledger import DeadLetter, LetterFilter, Replayed
from runtime import letters as seen
from runtime.cli.remote import PAGE, Remote


class _Page(msgspec.Struct):
    letters: list[seen.LetterLine]
    next: str | None


class _Fate(msgspec.Struct):
    became: Replayed


class RemoteLetters:
    """Implements `runtime.cli.letters.Letters`: what is listed has no body, headers or traceback."""

    def __init__(self, worker: Remote) -> None:
        self._worker = worker

    async def whole(self, letter: DeadLetter) -> DeadLetter:
        raise NotFound(f"{letter.id} can't be edited over HTTP: this needs the ledger itself. Give its DB_POSTGRES_URL")

    async def shown(self, letter: DeadLetter, _contracts: seen.Contracts, *, reveal: bool) -> seen.ShownLetter:
        """Masked by the worker."""
        query = {"address": letter.address, "group": letter.group, "reveal": "true" if reveal else "false"}
        return await self._worker.ask(
            "GET", f"/dead-letters/{quote(letter.id, safe='')}", seen.ShownLetter, query=query
        )

    async def edit(self, letter: DeadLetter) -> None:
        await self.whole(letter)

    async def replay(self, letters: Sequence[DeadLetter], *, most: int) -> list[Replayed]:
        asked = {"letters": _names(letters), "most_replays": most}
        body = msgspec.json.encode(asked)
        return [one.became for one in await self._worker.ask("POST", "/dead-letters/replay", list[_Fate], body=body)]

    async def drop(self, letters: Sequence[DeadLetter]) -> int:
        body = msgspec.json.encode({"letters": _names(letters)})
        return (await self._worker.ask("POST", "/dead-letters/drop", dict[str, int], body=body))["dropped"]

    async def list(self, wanted: LetterFilter) -> list[DeadLetter]:
        from runtime.http import cursor as cursors

        found: list[DeadLetter] = []
        cursor = cursors.written(wanted.before) if wanted.before else None
        while len(found) < wanted.limit:
            query = [*_query(wanted), ("limit", min(PAGE, wanted.limit - len(found)))]
            query += [("cursor", cursor)] if cursor else []
            page = await self._worker.ask("GET", "/dead-letters", _Page, query=query)
            found += map(_letter, page.letters)
            if (cursor := page.next) is None:
                break
        return found


def _query(wanted: LetterFilter) -> list[tuple[str, Any]]:
    query: list[tuple[str, Any]] = [("id", id_) for id_ in wanted.ids]
    query += [("header", f"{name}={value}") for name, value in wanted.headers.items()]
    named = {"address": wanted.address, "group": wanted.group, "reason": wanted.reason}
    query += [(name, value) for name, value in named.items() if value is not None]
    instants = {"since": wanted.since, "until": wanted.until}
    return query + [(name, at.isoformat()) for name, at in instants.items() if at is not None]


def _names(letters: Sequence[DeadLetter]) -> list[dict[str, str]]:
    return [{"id": one.id, "address": one.address, "group": one.group} for one in letters]


def _letter(line: seen.LetterLine) -> DeadLetter:
    said = msgspec.structs.asdict(line)
    return DeadLetter(**{**said, "position": None if line.position is None else int(line.position), "body": b""})
