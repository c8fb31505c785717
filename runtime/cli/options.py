"""Options that every command takes, and options that follow from a contract.

Typer reads a command's options from its function's signature, so both are made by writing signatures.
"""

from __future__ import annotations

import functools
import inspect
import os
import types
import typing
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from contracts.errors import BadInput, Conflict, Faults, MillraceError, NotFound
from runtime import exits
from runtime.cli.output import Output

if typing.TYPE_CHECKING:
    from runtime.settings import Settings

_PANEL = "Options of every command"
_CHOICES = {
    "db": ("MILLRACE_DB", "Database: postgres, cassandra or memory."),
    "fs": ("MILLRACE_FS", "Files: local, s3 or minio."),
    "cache": ("MILLRACE_CACHE", "Cache: redis or memory."),
    "mq": ("MILLRACE_MQ", "Bus: kafka, redis-stream or memory."),
    "log": ("MILLRACE_LOG", "Log format: json or pretty."),
    "metrics": ("MILLRACE_METRICS", "Metrics: prometheus, memory or noop."),
    "secrets": ("MILLRACE_SECRETS", "Secrets: env, file or vault."),
    "env": ("MILLRACE_ENV", "Environment: local, test, staging or production."),
}


class Invocation(msgspec.Struct, kw_only=True):
    """What a command was called with, beside its own options."""

    overrides: dict[str, Any]
    output: Output

    def settings(self) -> Settings:
        """Raises `Faults` with everything that is wrong; warnings go to standard error."""
        from runtime import settings

        loaded = settings.load(overrides=self.overrides, environ=os.environ, directory=Path.cwd())
        for warning in loaded.warnings:
            self.output.note(warning)
        return loaded


Command = Callable[..., int | None]


def command(app: typer.Typer, name: str, *, examples: str, help: str = "") -> Callable[[Callable[..., Any]], None]:
    """Add the function as a command: its first parameter is the `Invocation`, the others are its own options."""

    def add(function: Callable[..., Any]) -> None:
        text = f"{help or inspect.getdoc(function) or ''}\n\n[bold]Example[/bold]\n\n{_lines(examples)}"
        app.command(name, help=text, short_help=(help or inspect.getdoc(function) or "").partition("\n")[0])(
            _with_globals(function)
        )

    return add


def _lines(examples: str) -> str:
    return "\n\n".join(f"  [cyan]{line.strip()}[/cyan]" for line in examples.strip().splitlines())


def _with_globals(function: Callable[..., Any]) -> Callable[..., None]:
    signature = inspect.signature(function)
    hints = typing.get_type_hints(function, include_extras=True)
    _, *own = signature.parameters.values()
    parameters = [parameter.replace(annotation=hints[parameter.name]) for parameter in own] + _globals()

    @functools.wraps(function)
    def called(**given: Any) -> None:
        overrides = {name: value for name in (*_CHOICES, "auto_migrate") if (value := given.pop(name)) is not None}
        output = Output(as_json=_wants_json(given.pop("output")))
        raise typer.Exit(_guarded(lambda: function(Invocation(overrides=overrides, output=output), **given), output))

    called.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    del called.__wrapped__  # type: ignore[attr-defined]
    return called


def _globals() -> list[inspect.Parameter]:
    made = [
        _parameter(
            name, Annotated[str | None, typer.Option(help=f"{text} [dim]\\[{key}][/dim]", rich_help_panel=_PANEL)]
        )
        for name, (key, text) in _CHOICES.items()
    ]
    migrate = typer.Option(
        "--auto-migrate/--no-auto-migrate",
        help="Apply pending migrations at start (default: yes, but not in production).",
        rich_help_panel=_PANEL,
        show_default=False,
    )
    output = typer.Option(help="How results are printed: text or json.", rich_help_panel=_PANEL)
    made.append(_parameter("auto_migrate", Annotated[bool | None, migrate]))
    made.append(_parameter("output", Annotated[str, output], default="text"))
    return made


def _parameter(name: str, annotation: Any, default: Any = None) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _wants_json(output: str) -> bool:
    if output not in ("text", "json"):
        raise typer.BadParameter(f"{output!r}: it can be text or json", param_hint="--output")
    return output == "json"


def _guarded(act: Callable[[], int | None], output: Output) -> int:
    """The exit code of `act`; what it raises is said in words, never as a traceback."""
    try:
        return act() or exits.DONE
    except (Faults, BadInput) as error:
        output.faults(error)
        return exits.WRONG
    except (NotFound, Conflict) as error:
        output.error(str(error))
        return exits.FAILED
    except MillraceError as error:
        output.error(str(error))
        return exits.FAILED
    except KeyboardInterrupt:
        output.error("interrupted")
        return exits.CUT
    except (OSError, UnicodeError) as error:
        output.error(str(error))
        return exits.FAILED
    except Exception as error:  # noqa: BLE001 - a user never sees a bare traceback
        output.error(f"this is a fault of Millrace: {error!r}; its traceback is in {_keep_traceback()}")
        return exits.FAILED


def _keep_traceback() -> str:
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="millrace-", suffix=".txt", delete=False) as kept:
        traceback.print_exc(file=kept)
    return kept.name


def run_async(act: Callable[[], Awaitable[int | None]]) -> int | None:
    """Run a coroutine function to its end in an event loop of its own."""
    import asyncio

    async def whole() -> int | None:
        return await act()

    return asyncio.run(whole())


# Options that follow from a contract.


def contract_command(
    app: typer.Typer,
    name: str,
    contract: type[msgspec.Struct],
    act: Callable[[Invocation, dict[str, Any]], int | None],
    *,
    help: str,
    example: str,
) -> None:
    """Add a command whose options are the fields of `contract`; `act` gets those that were given, as text.

    Fields without a default are checked with all others later, so that every fault is told at once. The first
    required field can be given without its name.
    """
    fields = {field.name: field for field in msgspec.structs.fields(contract)}
    positional = next((one.name for one in fields.values() if one.required), None)

    def function(invocation: Invocation, **given: Any) -> int | None:
        bare = given.pop("_bare", None)
        if bare is not None and positional is not None:
            given[positional] = bare
        return act(invocation, {key: value for key, value in given.items() if value is not None})

    parameters = [inspect.Parameter("invocation", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Invocation)]
    if positional:
        argument = typer.Argument(
            metavar=f"[{positional.upper()}]", help=f"The same as --{positional.replace('_', '-')}.", show_default=False
        )
        parameters.append(_parameter("_bare", Annotated[str | None, argument]))
    parameters.extend(_option_of(field) for field in fields.values())
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    function.__doc__ = help
    command(app, name, examples=example, help=help)(function)


def _option_of(field: msgspec.structs.FieldInfo) -> inspect.Parameter:
    flag = f"--{field.name.replace('_', '-')}"
    text = _description(field)
    if _is_bool(field.type):
        option = typer.Option(f"{flag}/--no-{flag[2:]}", help=text, show_default=False)
        return _parameter(field.name, Annotated[bool | None, option])
    return _parameter(field.name, Annotated[str | None, typer.Option(flag, help=text, show_default=False)])


def _description(field: msgspec.structs.FieldInfo) -> str:
    schema = msgspec.json.schema(field.type)
    text = str(schema.get("description", ""))
    notes = []
    if field.required:
        notes.append("required")
    elif field.default not in (None, msgspec.NODEFAULT, False, ""):
        notes.append(f"default: {field.default}")
    if "enum" in schema:
        notes.append("one of " + ", ".join(map(str, schema["enum"])))
    return text + (f" [dim]({'; '.join(notes)})[/dim]" if notes else "")


def _is_bool(type_: Any) -> bool:
    if typing.get_origin(type_) is Annotated:
        type_ = typing.get_args(type_)[0]
    if isinstance(type_, types.UnionType):
        return bool in typing.get_args(type_)
    return type_ is bool
