"""Dead letters over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from litestar import Request, get, post
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta

from contracts.api_key import OPERATE, VIEW
from contracts.errors import BadInput, Conflict, NotFound
from contracts.http import Refused
from contracts.ports.ledger import DeadLetter, LetterFilter
from runtime import letters as seen
from runtime.http import cursor as cursors
from runtime.http.site import Site

LIMIT_MAX = 200
AT_ONCE = 200

Address = Annotated[str | None, QueryParameter(description="Only of this address.")]
Group = Annotated[str | None, QueryParameter(description="Only of this group.")]


class LetterPage(msgspec.Struct, frozen=True, kw_only=True):
    """Newest first; `next` is the `cursor` of the page after this one, null on the last."""

    letters: list[seen.LetterLine]
    next: str | None


class LetterName(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What tells a letter from all others."""

    id: str
    address: str
    group: str = ""


class DropLetters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which ones."""

    letters: Annotated[list[LetterName], Meta(max_length=AT_ONCE)]


class ReplayLetters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which ones. One that came back `most_replays` times stays."""

    letters: Annotated[list[LetterName], Meta(max_length=AT_ONCE)]
    most_replays: Annotated[int, Meta(ge=1)] = seen.MOST_REPLAYS


class LetterFate(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one: `parked` waits for its route, `gone` was not there (any more), `too often` stays."""

    id: str
    address: str
    group: str
    became: str


class Dropped(msgspec.Struct, frozen=True, kw_only=True):
    """How many of them were there."""

    dropped: int


@get("/dead-letters", summary="List dead letters, newest first.", tags=["dead letters"], opt={"scope": VIEW})
async def list_letters(
    state: State,
    ids: Annotated[list[str] | None, QueryParameter(name="id", description="Only these; can be repeated.")] = None,
    address: Address = None,
    group: Group = None,
    reason: Annotated[str | None, QueryParameter(description="Only those with this reason.")] = None,
    having: Annotated[
        list[str] | None, QueryParameter(name="header", description="NAME=VALUE, all of which it has.")
    ] = None,
    since: Annotated[datetime | None, QueryParameter(description="Buried then or later, with offset.")] = None,
    until: Annotated[datetime | None, QueryParameter(description="Buried before then, with offset.")] = None,
    cursor: Annotated[str | None, QueryParameter(description="`next` of the page before.")] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=LIMIT_MAX, description="At most this many.")] = 50,
) -> LetterPage:
    """Without bodies, headers and tracebacks; personal values are masked. Pages do not shift while letters come in."""
    site: Site = state.site
    wanted = LetterFilter(
        ids=tuple(ids or ()),
        address=address,
        group=group,
        reason=reason,
        headers=_pairs(having or []),
        since=_with_offset("since", since),
        until=_with_offset("until", until),
        before=cursors.read(cursor) if cursor else None,
        limit=limit,
    )
    rows = await site.ledger.dead_letters.list(wanted)
    last = rows[-1] if len(rows) == limit else None
    contracts = seen.contracts_of(site.worker.modules)
    return LetterPage(
        letters=[seen.line(row, contracts) for row in rows],
        next=cursors.written((last.buried_at, last.id)) if last and last.buried_at else None,
    )


@get("/dead-letters/{letter_id:str}", summary="Show one dead letter whole.", tags=["dead letters"], opt={"scope": VIEW})
async def show_letter(
    state: State,
    request: Request,  # type: ignore[type-arg]
    letter_id: FromPath[str],
    address: Address = None,
    group: Group = None,
    reveal: Annotated[bool, QueryParameter(description="Show what is marked as personal, too.")] = False,
) -> seen.ShownLetter:
    """With its body; 409 where several have this id: say of which address and group."""
    site: Site = state.site
    if reveal and not request.scope["state"]["caller"].may(OPERATE):
        raise Refused(403, f"to reveal what is marked as personal needs the scope {OPERATE}")
    rows = await site.ledger.dead_letters.list(LetterFilter(ids=(letter_id,), address=address, group=group))
    if not rows:
        raise NotFound(f"there is no dead letter {letter_id[:100]!r}")
    if len(rows) > 1:
        some = ", ".join(f"{row.address} ({row.group})" for row in rows[:3])
        raise Conflict(f"{len(rows)} dead letters are {letter_id[:100]!r}, of {some}: give `address` and `group`")
    return seen.shown(rows[0], seen.contracts_of(site.worker.modules), reveal=reveal)


@post(
    "/dead-letters/replay",
    status_code=200,
    summary="Send dead letters to their routes again.",
    tags=["dead letters"],
    opt={"scope": OPERATE},
)
async def replay_letters(state: State, data: JSONBody[ReplayLetters]) -> list[LetterFate]:
    """In one transaction; what became of each, in the order of the request."""
    site: Site = state.site
    became = await site.ledger.dead_letters.replay(_named(data.letters), most=data.most_replays)
    return [
        LetterFate(id=one.id, address=one.address, group=one.group, became=said)
        for one, said in zip(data.letters, became, strict=True)
    ]


@post(
    "/dead-letters/drop",
    status_code=200,
    summary="Delete dead letters for good.",
    tags=["dead letters"],
    opt={"scope": OPERATE},
)
async def drop_letters(state: State, data: JSONBody[DropLetters]) -> Dropped:
    """One that is not there (any more) is no fault."""
    site: Site = state.site
    return Dropped(dropped=await site.ledger.dead_letters.drop(_named(data.letters)))


def _named(names: list[LetterName]) -> list[DeadLetter]:
    """The ledger goes by their names alone."""
    return [DeadLetter(id=one.id, address=one.address, group=one.group, reason="", body=b"") for one in names]


def _pairs(given: list[str]) -> dict[str, str]:
    if wrong := [one for one in given if one.find("=") < 1]:
        raise BadInput([f"header: {one[:100]!r}; give it as NAME=VALUE" for one in wrong])
    return {name: value for name, _, value in (one.partition("=") for one in given)}


def _with_offset(name: str, at: datetime | None) -> datetime | None:
    if at is not None and at.tzinfo is None:
        raise BadInput(f"{name}: {at.isoformat()}; give it with its offset, such as 2026-01-15T08:00:00Z")
    return at


HANDLERS = [list_letters, show_letter, replay_letters, drop_letters]
