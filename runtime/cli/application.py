"""`millrace`: puts the commands together, and turns a command line into one of the exit codes.

Only what the command line names is imported: a module's code for `run` and for its own tools, and nothing of any
module for the built-in commands.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated, Any

import typer
import typer.core
import typer.main

from runtime import exits
from runtime.cli import global_options
from runtime.cli.command import guarded
from runtime.cli.output import Output

HELP = """Run, watch and repair data jobs and streams.

Start with [cyan]millrace doctor[/cyan], see [cyan]millrace modules list[/cyan], and then \
[cyan]millrace run MODULE[/cyan].

Exit codes: 0 done, 1 it failed, 2 wrong arguments or settings, 3 cut short by a signal."""
_FIRST = ("run", "publish", "jobs", "dlq", "workers", "positions")
_LAST = ("modules", "keys", "config", "migrate", "doctor", "reset")
_PLACES = {name: place for place, name in enumerate((*_FIRST, "", *_LAST))}
_BUILT_IN = frozenset((*_FIRST, *_LAST)) - {"run"}
_INTERRUPTED = 130
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]  # Typer has a Click of its own and names only this of it


def run(argv: Sequence[str]) -> int:
    """One command line, to its exit code."""
    output = Output(as_json=global_options.wants_json(argv))

    def whole() -> int:
        try:
            made = typer.main.get_command(build(_completed() or argv))
            code = made.main(args=list(argv), prog_name="millrace", standalone_mode=False)
        except _UsageError as error:
            return _misused(error, output)
        return exits.CUT if code == _INTERRUPTED else int(code or exits.DONE)

    return guarded(whole, output)


def build(argv: Sequence[str]) -> typer.Typer:
    """The application, with as much of it as `argv` can reach."""
    app = typer.Typer(
        name="millrace",
        help=HELP,
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        callback=_root(),
        cls=_InOrder,
    )
    words = global_options.bare_words(argv)
    first = words[0] if words else ""
    if first not in _BUILT_IN and "--version" not in argv:
        from runtime.cli import modules_of

        modules_of.add(app, words)
    if first != "run":
        from runtime.cli import commands

        commands.add(app)
    return app


class _InOrder(typer.core.TyperGroup):
    """Help lists what people want first, and tools of modules before what serves to look after an installation."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=lambda name: _PLACES.get(name, len(_FIRST)))


def _root() -> Any:
    """Takes the options of every command that stand before the command."""
    import inspect

    def root(context: typer.Context, **given: Any) -> None:
        given.pop("version")
        context.obj = global_options.GlobalOptions(given=global_options.taken(given))

    own = inspect.Parameter.POSITIONAL_OR_KEYWORD
    option = typer.Option("--version", help="Print the version and end.", callback=_tell_version, is_eager=True)
    parameters = [
        inspect.Parameter("context", own, annotation=typer.Context),
        inspect.Parameter("version", own, annotation=Annotated[bool | None, option], default=None),
        *global_options.parameters(),
    ]
    root.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    root.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return root


def _tell_version(wanted: bool | None) -> None:
    if wanted:
        from runtime.version import version

        print(f"millrace {version()}")
        raise typer.Exit


def _misused(error: Exception, output: Output) -> int:
    """What Typer itself refuses: an unknown command, an option without its value. A group without a command has
    printed its help on the way here."""
    if type(error).__name__ == "NoArgsIsHelpError":
        return exits.DONE
    context = getattr(error, "ctx", None)
    said = str(getattr(error, "format_message", error.__str__)())
    said += "" if said.endswith((".", "?", "!")) else "."
    output.error(f"{said} `{context.command_path if context else 'millrace'} --help` says more.")
    return exits.WRONG


def _completed() -> list[str]:
    """The command line that a shell asks to complete; empty when none does."""
    if "_MILLRACE_COMPLETE" not in os.environ:
        return []
    line = os.environ.get("_TYPER_COMPLETE_ARGS") or os.environ.get("COMP_WORDS", "")
    return line.split()[1:]
