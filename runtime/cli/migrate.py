"""`millrace migrate`: the database's schema."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from msgspec import Meta

from contracts.errors import BadInput
from runtime import exits
from runtime.cli.command import Options, command, run_async
from runtime.cli.invocation import Invocation

if TYPE_CHECKING:
    from migrations.files import Phase
    from migrations.runner import Migration

COLUMNS = ("number", "name", "phase", "state", "applied_at", "millrace_version")


class Up(Options, frozen=True):
    """Which."""

    phase: Annotated[
        Literal["before", "after", "all"],
        Meta(
            description="Those that new workers need and older ones can bear (before), those that wait until no living "
            "worker is older than they are (after), or all that may be applied now."
        ),
    ] = "all"
    force: Annotated[
        bool, Meta(description="Apply what is for after the upgrade while older workers live: they break.")
    ] = False


class Down(Options, frozen=True):
    """How far."""

    count: Annotated[int, Meta(ge=1, description="How many.", extra={"argument": "N"})] = 1
    yes: Annotated[bool, Meta(description="Don't ask; needed in production.")] = False


class New(Options, frozen=True):
    """Its name."""

    name: Annotated[str, Meta(description="What it does, in a_few_words.", extra={"argument": "NAME"})]
    phase: Annotated[
        Literal["before", "after"],
        Meta(description="When it is applied: after the upgrade, if workers of the version before can't bear it."),
    ] = "before"


def add(app: typer.Typer) -> None:
    """Add `migrate up`, `down`, `status` and `new`."""
    group = typer.Typer(help="Bring the database's schema up or down.", no_args_is_help=True)
    app.add_typer(group, name="migrate")
    command(
        group,
        "migrate up",
        Up,
        up,
        examples="millrace migrate up\nmillrace migrate up --phase before\nmillrace migrate up --phase after",
    )
    command(group, "migrate down", Down, down, examples="millrace migrate down 1\nmillrace migrate down 2 --yes")
    command(group, "migrate status", Options, status)
    command(
        group,
        "migrate new",
        New,
        new,
        examples="millrace migrate new add_customer_index\nmillrace migrate new drop_old_name --phase after",
    )


def up(invocation: Invocation, asked: Up) -> int | None:
    """Apply pending migrations: all, or those of one phase of a rolling upgrade."""
    from migrations import runner
    from runtime.cli.ledger_access import opened

    async def act() -> None:
        async with opened(invocation.settings, "db") as adapters:
            phase: Phase | None = None if asked.phase == "all" else asked.phase
            applied = await runner.up(adapters.db, phase=phase, force=asked.force, log=adapters.log)
        invocation.output.rows(applied, columns=COLUMNS, none="nothing was pending")

    return run_async(act)


def down(invocation: Invocation, asked: Down) -> int | None:
    """Roll back the last N migrations. What they made is dropped, with its data."""
    from migrations import runner
    from runtime.cli.ledger_access import opened

    if invocation.settings.env == "production" and not asked.yes:
        raise BadInput("--yes: rolling back drops data; in production it must be given")

    async def act() -> int | None:
        async with opened(invocation.settings, "db") as adapters:
            applied = [one for one in await runner.status(adapters.db) if one.applied_at]
            going = list(reversed(applied[-asked.count :]))
            if going and not asked.yes and not _agreed(adapters.db.address, going):
                invocation.output.error("nothing was rolled back")
                return exits.FAILED
            reverted = await runner.down(adapters.db, asked.count)
        invocation.output.rows(reverted, columns=("number", "name", "phase", "state"), none="nothing was applied")
        return None

    return run_async(act)


def status(invocation: Invocation, _: Options) -> int | None:
    """Show applied and pending migrations."""
    from migrations import runner
    from runtime.cli.ledger_access import opened

    async def act() -> None:
        async with opened(invocation.settings, "db") as adapters:
            found = await runner.status(adapters.db)
        invocation.output.rows(found, columns=COLUMNS, none="there are no migrations")

    return run_async(act)


def new(invocation: Invocation, asked: New) -> int | None:
    """Make the next numbered pair of files, up and down."""
    from migrations import runner

    invocation.output.rows([{"made": str(path)} for path in runner.new(asked.name, phase=asked.phase)])
    return None


def _agreed(address: str, going: list[Migration]) -> bool:
    """Whether the person at the terminal says yes; without one there is nobody to ask, and the command line counts."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return True
    names = ", ".join(f"{one.number:04}_{one.name}" for one in going)
    sys.stderr.write(f"Roll back {names} on {address}, and drop what they made with its data? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
