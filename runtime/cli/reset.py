"""`millrace reset`: end what the embedded parts run, and delete what they keep."""

from __future__ import annotations

import shutil
from typing import Annotated

import typer

from contracts.errors import BadInput
from runtime.cli.options import Invocation, command, run_async


def add(app: typer.Typer) -> None:
    """Add `reset`."""
    command(app, "reset", examples="millrace reset --yes")(reset)


def reset(
    invocation: Invocation,
    yes: Annotated[bool, typer.Option("--yes", help="Really: jobs, tables and files go.")] = False,
) -> int | None:
    """Stop the embedded PostgreSQL and delete it, with all that is kept in MILLRACE_HOME."""
    settings = invocation.settings()
    if not yes:
        raise BadInput(f"this deletes the embedded database and {settings.millrace_home}; say --yes if it may")

    async def act() -> None:
        from runtime.wiring import Adapters

        await Adapters(settings).remove_embedded()

    run_async(act)
    shutil.rmtree(settings.millrace_home, ignore_errors=True)
    invocation.output.value({"deleted": str(settings.millrace_home)})
    return None
