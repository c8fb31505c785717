"""`millrace`: puts the commands together.

Modules are imported only for the commands that need them: `run` and the tools that modules offer.
"""

from __future__ import annotations

import sys

import typer

from runtime.cli import commands, modules_of

BUILT_IN = ("publish", "jobs", "modules", "migrate", "config", "doctor", "reset")


def build(argv: list[str]) -> typer.Typer:
    """The application, with as much of the dynamic part as `argv` can reach."""
    app = typer.Typer(
        name="millrace",
        help="Run, watch and repair data jobs and streams.\n\nStart with [cyan]millrace doctor[/cyan].",
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    words = [word for word in argv if not word.startswith("-")]
    first = words[0] if words else ""
    commands.add(app)
    if first not in BUILT_IN:
        modules_of.add(app, words)
    return app


def main() -> None:
    """The entry point of the `millrace` script."""
    build(sys.argv[1:])(prog_name="millrace")
