"""`millrace reset`: end what the embedded parts run, and delete what they keep."""

from __future__ import annotations

import shutil
from typing import Annotated

import typer
from msgspec import Meta

from contracts.errors import BadInput
from runtime.cli.command import Options, command, run_async
from runtime.cli.invocation import Invocation


class Reset(Options, frozen=True):
    """Whether it may."""

    yes: Annotated[bool, Meta(description="Really: jobs, tables and files go.")] = False


def add(app: typer.Typer) -> None:
    """Add `reset`."""
    command(app, "reset", Reset, reset, examples="millrace reset --yes")


def reset(invocation: Invocation, asked: Reset) -> int | None:
    """Stop the embedded PostgreSQL and delete it, with all that is kept in MILLRACE_HOME."""
    settings = invocation.settings
    if not asked.yes:
        raise BadInput(f"--yes: this deletes the embedded database and {settings.millrace_home}; say so if it may")

    async def act() -> None:
        from runtime.wiring import Adapters

        await Adapters(settings).remove_embedded()

    run_async(act)
    shutil.rmtree(settings.millrace_home, ignore_errors=True)
    home = str(settings.millrace_home)
    invocation.output.say(f"deleted {home}, and the embedded database with it", deleted=home)
    return None
