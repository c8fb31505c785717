"""`millrace migrate`: the database's schema."""

from __future__ import annotations

from typing import Annotated

import typer

from runtime.cli.ledger_access import opened
from runtime.cli.options import Invocation, command, run_async


def add(app: typer.Typer) -> None:
    """Add `migrate up`, `down`, `status` and `new`."""
    group = typer.Typer(help="Bring the database's schema up or down.", no_args_is_help=True)
    app.add_typer(group, name="migrate")
    command(group, "up", examples="millrace migrate up")(up)
    command(group, "down", examples="millrace migrate down 1")(down)
    command(group, "status", examples="millrace migrate status")(status)
    command(group, "new", examples="millrace migrate new add_customer_index")(new)


def up(invocation: Invocation) -> int | None:
    """Apply all pending migrations."""
    from migrations import runner

    async def act() -> None:
        async with opened(invocation.settings(), "db") as adapters:
            invocation.output.rows(await runner.up(adapters.db), title="applied")

    return run_async(act)


def down(
    invocation: Invocation, count: Annotated[int, typer.Argument(metavar="N", min=1, help="How many.")] = 1
) -> int | None:
    """Roll back the last N migrations. What they made is dropped, with its data."""
    from migrations import runner

    async def act() -> None:
        async with opened(invocation.settings(), "db") as adapters:
            invocation.output.rows(await runner.down(adapters.db, count), title="rolled back")

    return run_async(act)


def status(invocation: Invocation) -> int | None:
    """Show applied and pending migrations."""
    from migrations import runner

    async def act() -> None:
        async with opened(invocation.settings(), "db") as adapters:
            invocation.output.rows(await runner.status(adapters.db))

    return run_async(act)


def new(
    invocation: Invocation, name: Annotated[str, typer.Argument(help="What it does, in a few_words.")]
) -> int | None:
    """Make the next numbered pair of files, up and down."""
    from migrations import runner

    invocation.output.rows([{"made": str(path)} for path in runner.new(name)])
    return None
