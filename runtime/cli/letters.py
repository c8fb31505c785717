"""Where dead letters are looked after, and how a command line says which ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

import msgspec

from contracts.errors import BadInput, NotFound, Unavailable
from contracts.ports.ledger import DeadLetter, LetterFilter, Replayed
from runtime import letters as seen
from runtime.cli.desk import worker_instead
from runtime.cli.instants import instant
from runtime.cli.ledger_access import the_ledger

if TYPE_CHECKING:
    from contracts.ports.ledger import DeadLetters
    from runtime.cli.dlq import Which
    from runtime.settings import Settings

SEARCHED = 1000
PAGE = 200


class Letters(Protocol):
    """Dead letters for people: as `contracts.ports.ledger.DeadLetters` has them, but that what is listed may come
    without its body."""

    async def whole(self, letter: DeadLetter) -> DeadLetter:
        """With its body; raises `NotFound`."""
        ...

    async def shown(self, letter: DeadLetter, contracts: seen.Contracts, *, reveal: bool) -> seen.ShownLetter: ...

    async def edit(self, letter: DeadLetter) -> None: ...

    async def replay(self, letters: Sequence[DeadLetter], *, most: int) -> list[Replayed]: ...

    async def drop(self, letters: Sequence[DeadLetter]) -> int: ...

    async def list(self, wanted: LetterFilter) -> list[DeadLetter]: ...


class InLedger:
    """Implements `Letters` on a ledger that this process has opened."""

    def __init__(self, letters: DeadLetters) -> None:
        self.list = letters.list
        self.edit = letters.edit
        self.replay = letters.replay
        self.drop = letters.drop

    async def whole(self, letter: DeadLetter) -> DeadLetter:
        return letter

    async def shown(self, letter: DeadLetter, contracts: seen.Contracts, *, reveal: bool) -> seen.ShownLetter:
        return seen.shown(letter, contracts, reveal=reveal)


@asynccontextmanager
async def the_letters(settings: Settings) -> AsyncIterator[Letters]:
    """In the ledger when this process can open it, else by a worker; raises `NotFound` when neither is there."""
    async with AsyncExitStack() as stack:
        letters: Letters
        try:
            letters = InLedger((await stack.enter_async_context(the_ledger(settings))).ledger.dead_letters)
        except (NotFound, Unavailable) as error:
            from runtime.cli.remote_letters import RemoteLetters

            letters = RemoteLetters(await worker_instead(settings, error))
        yield letters


def wanted(asked: Which, *, now: datetime, everything: bool = True) -> LetterFilter:
    """The filter that was asked for; raises `BadInput` with everything that is wrong, also when nothing says which,
    and not `everything` is meant."""
    faults: list[str] = []
    instants: dict[str, datetime | None] = {"since": None, "until": None}
    for name in instants:
        try:
            if (given := getattr(asked, name)) is not None:
                instants[name] = instant(f"--{name}", given, now=now)
        except BadInput as error:
            faults += error.faults
    headers = {}
    try:
        headers = pairs("--header", asked.header)
    except BadInput as error:
        faults += error.faults
    said = (asked.id, asked.route, asked.group, asked.reason, asked.header, asked.since, asked.until)
    if not everything and not any(said):
        faults.append("say which: --id, --route, --group, --reason, --header, --since, --until, or --all")
    if faults:
        raise BadInput(faults)
    return LetterFilter(
        ids=asked.id,
        address=asked.route,
        group=asked.group,
        reason=asked.reason,
        headers=headers,
        since=instants["since"],
        until=instants["until"],
    )


def pairs(option: str, given: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE` each; raises `BadInput` with those that aren't."""
    wrong = [one for one in given if one.find("=") < 1]
    if wrong:
        raise BadInput([f"{option}: {one!r}; give it as NAME=VALUE" for one in wrong])
    return {name: value for name, _, value in (one.partition("=") for one in given)}


async def found(letters: Letters, id_: str, *, address: str | None, group: str | None) -> DeadLetter:
    """The letter with this id or beginning; raises `NotFound`, or `BadInput` when there are several."""
    among = LetterFilter(address=address, group=group, limit=SEARCHED)
    matches = await letters.list(LetterFilter(ids=(id_,), address=address, group=group))
    matches = matches or [letter for letter in await letters.list(among) if letter.id.startswith(id_)]
    if not matches:
        raise NotFound(
            f"no dead letter is {id_!r}, and none of the newest {SEARCHED} begins so; see `millrace dlq list`"
        )
    if len(matches) == 1:
        return matches[0]
    some = ", ".join(f"{one.id} of {one.address}{f' ({one.group})' if one.group else ''}" for one in matches[:3])
    raise BadInput(
        f"{len(matches)} dead letters are or begin with {id_!r}, such as {some}; give more of it, --route or --group"
    )


async def all_of(letters: Letters, which: LetterFilter) -> list[DeadLetter]:
    """Every one that fits, as they came once, without what is not needed to name them: there can be many."""
    names: dict[tuple[str, str, str], DeadLetter] = {}
    page = which
    while True:
        rows = await letters.list(msgspec.structs.replace(page, limit=PAGE))
        for row in rows:
            slim = msgspec.structs.replace(row, body=b"", error="", traceback="", headers={})
            names[row.address, row.group, row.id] = slim
        if len(rows) < PAGE:
            return seen.as_they_came(names.values())
        last = rows[-1]
        assert last.buried_at is not None
        page = msgspec.structs.replace(page, before=(last.buried_at, last.id))
