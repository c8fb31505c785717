"""`millrace dlq`: what could not be handled, and what can be done about it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from msgspec import Meta

from contracts.errors import BadInput
from runtime.cli.command import Options, command, run_async
from runtime.cli.invocation import Invocation
from runtime.letters import MOST_REPLAYS

if TYPE_CHECKING:
    from contracts.ports.ledger import DeadLetter, LetterFilter
    from runtime.letters import Contracts

COLUMNS = ("id", "address", "group", "reason", "attempts", "replays", "buried_at", "error")
_ERROR_SHOWN = 100

LetterId = Annotated[
    str,
    Meta(min_length=1, description="The letter's id, or a beginning of it that is unique.", extra={"argument": "ID"}),
]
Route = Annotated[str | None, Meta(description="Only of this address.")]
Group = Annotated[str | None, Meta(description="Only of this group.")]


class Which(Options, frozen=True):
    """Which ones: all that is said has to hold."""

    id: Annotated[tuple[str, ...], Meta(description="Only these, by their whole ids.")] = ()
    route: Route = None
    group: Group = None
    reason: Annotated[str | None, Meta(description="Only those with this reason, such as undecodable.")] = None
    header: Annotated[tuple[str, ...], Meta(description="Only those with this header, as NAME=VALUE.")] = ()
    since: Annotated[str | None, Meta(description="Buried then or later: 2h, or 2026-01-15T08:00:00Z.")] = None
    until: Annotated[str | None, Meta(description="Buried before then: 15m, or 2026-01-15T09:00:00Z.")] = None


class ListLetters(Which, frozen=True):
    """Which ones, and how many."""

    limit: Annotated[int, Meta(ge=1, le=1000, description="At most this many.")] = 50
    older_than: Annotated[str | None, Meta(description="Only what was buried before this one, by its id.")] = None


class OneLetter(Options, frozen=True):
    """Which one, and how much of it."""

    id: LetterId
    route: Route = None
    group: Group = None
    reveal: Annotated[bool, Meta(description="Show what is marked as personal, too.")] = False


class EditLetter(Options, frozen=True):
    """Which one, and what is changed."""

    id: LetterId
    route: Route = None
    group: Group = None
    body: Annotated[str | None, Meta(description="A file with the new body; - is standard input.")] = None
    header: Annotated[tuple[str, ...], Meta(description="Set a header, as NAME=VALUE; NAME= takes it away.")] = ()
    key: Annotated[str | None, Meta(description="The new key; an empty one takes it away.")] = None


class ReplayLetters(Which, frozen=True):
    """Which ones, and how fast."""

    all: Annotated[bool, Meta(description="All that there are, where nothing else says which.")] = False
    dry_run: Annotated[bool, Meta(description="Only say what would be done.")] = False
    rate: Annotated[float, Meta(gt=0, description="At most so many a second.")] | None = None
    most_replays: Annotated[int, Meta(ge=1, description="What came back so often stays where it is.")] = MOST_REPLAYS


class DropLetters(Which, frozen=True):
    """Which ones."""

    all: Annotated[bool, Meta(description="All that there are, where nothing else says which.")] = False
    dry_run: Annotated[bool, Meta(description="Only say what would be done.")] = False


def add(app: typer.Typer) -> None:
    """Add `dlq list`, `show`, `edit`, `replay` and `drop`."""
    group = typer.Typer(help="Look at dead letters, mend them, and send them again.", no_args_is_help=True)
    app.add_typer(group, name="dlq")
    lists = "millrace dlq list --route orders.raw --since 2h\nmillrace dlq list --reason undecodable --output json"
    edits = "millrace dlq edit 0199c0de --body mended.json\nmillrace dlq edit 0199c0de --header tenant=acme"
    replays = "millrace dlq replay --route orders.raw --since 2h --dry-run\nmillrace dlq replay --id 0199c0de --rate 50"
    command(group, "dlq list", ListLetters, list_, examples=lists)
    command(group, "dlq show", OneLetter, show, examples="millrace dlq show 0199c0de")
    command(group, "dlq edit", EditLetter, edit, examples=edits)
    command(group, "dlq replay", ReplayLetters, replay, examples=replays)
    command(group, "dlq drop", DropLetters, drop, examples="millrace dlq drop --reason undecodable --until 3d")


def list_(invocation: Invocation, asked: ListLetters) -> int | None:
    """List dead letters, newest first, without their bodies."""
    from runtime import letters as seen
    from runtime.cli.letters import found, the_letters

    which = _wanted(invocation, asked)

    async def act() -> None:
        async with the_letters(invocation.settings) as letters:
            if asked.older_than:
                last = await found(letters, asked.older_than, address=asked.route, group=asked.group)
                assert last.buried_at is not None
                before = (last.buried_at, last.id)
            else:
                before = None
            rows = await letters.list(msgspec.structs.replace(which, limit=asked.limit, before=before))
        contracts = _contracts(invocation)
        lines = [seen.line(row, contracts) for row in rows]
        if invocation.output.as_json:
            invocation.output.rows(lines)
        else:
            invocation.output.rows([_line(line) for line in lines], columns=COLUMNS, none="no such dead letters")

    return run_async(act)


def show(invocation: Invocation, asked: OneLetter) -> int | None:
    """Show one dead letter: why it is here, its headers, traceback and body; what is personal is masked."""
    from runtime.cli.letters import found, the_letters

    async def act() -> None:
        async with the_letters(invocation.settings) as letters:
            letter = await found(letters, asked.id, address=asked.route, group=asked.group)
            _tell(invocation, await letters.shown(letter, _contracts(invocation), reveal=asked.reveal))

    return run_async(act)


def edit(invocation: Invocation, asked: EditLetter) -> int | None:
    """Give a dead letter another body, key or headers, so that it can be replayed."""
    from runtime.cli.letters import found, pairs, the_letters

    if asked.body is None and asked.key is None and not asked.header:
        raise BadInput("give what is to be changed: --body, --key or --header")
    headers = pairs("--header", asked.header)
    body = None if asked.body is None else _read(asked.body)

    async def act() -> None:
        async with the_letters(invocation.settings) as letters:
            letter = await found(letters, asked.id, address=asked.route, group=asked.group)
            letter = await letters.whole(letter)
            mended = msgspec.structs.replace(
                letter,
                body=letter.body if body is None else body,
                key=letter.key if asked.key is None else asked.key or None,
                headers={name: value for name, value in {**letter.headers, **headers}.items() if value != ""},
            )
            await letters.edit(mended)
        changed = [name for name in ("body", "key", "headers") if getattr(mended, name) != getattr(letter, name)]
        _warn(invocation, mended)
        said = f"has another {' and '.join(changed)}" if changed else "is as it was"
        invocation.output.say(
            f"dead letter {letter.id} {said}; `millrace dlq replay --id {letter.id}` sends it again",
            id=letter.id,
            address=letter.address,
            group=letter.group,
            changed=changed,
        )

    return run_async(act)


def replay(invocation: Invocation, asked: ReplayLetters) -> int | None:
    """Send dead letters to their routes again, oldest first, and say what became of each."""
    from runtime.cli.replaying import replay as replaying

    which = _wanted(invocation, asked, everything=asked.all)
    return run_async(lambda: replaying(invocation, which, asked))


def drop(invocation: Invocation, asked: DropLetters) -> int | None:
    """Delete dead letters for good, and say which."""
    from runtime.cli.replaying import drop as dropping

    which = _wanted(invocation, asked, everything=asked.all)
    return run_async(lambda: dropping(invocation, which, dry_run=asked.dry_run))


def _wanted(invocation: Invocation, asked: Which, *, everything: bool = True) -> LetterFilter:
    from runtime.cli.letters import wanted
    from runtime.wiring import Adapters

    return wanted(asked, now=Adapters(invocation.settings).clock.now(), everything=everything)


def _tell(invocation: Invocation, shown: Any) -> None:
    output = invocation.output
    if output.as_json:
        output.value(shown)
        return
    fields = msgspec.structs.asdict(shown)
    body, traceback = fields.pop("body"), fields.pop("traceback")
    output.value(fields)
    if traceback:
        output.document(f"\ntraceback\n{traceback}")
    text = body if isinstance(body, str) else msgspec.json.format(msgspec.json.encode(body)).decode()
    output.document(f"\nbody\n{text}")


def _warn(invocation: Invocation, letter: DeadLetter) -> None:
    from runtime import arguments

    contract = _contracts(invocation).get(letter.address)
    if contract is None:
        return
    try:
        msgspec.json.decode(letter.body, type=contract)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        try:
            faults = arguments.faults_of(contract, msgspec.json.decode(letter.body))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            faults = []
        why = "; ".join(faults) or str(error)
        invocation.output.note(f"it is still no {contract.__name__}, and would be buried again: {why}")


def _contracts(invocation: Invocation) -> Contracts:
    from runtime import letters, registry, wiring

    return letters.contracts_of(registry.find(catalog=wiring.catalog_of(invocation.settings)).modules)


def _line(line: Any) -> dict[str, object]:
    shown = {name: getattr(line, name) for name in COLUMNS}
    error = line.error
    shown["error"] = error if len(error) <= _ERROR_SHOWN else error[: _ERROR_SHOWN - 1] + "…"
    return shown


def _read(name: str) -> bytes:
    if name == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise BadInput(f"--body: {name} can't be read: {error.strerror}") from None
