"""Options that every command takes, before its name as well as after it.

They outrank the environment variables that are named beside them; what they mean is declared in `runtime.settings`.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Sequence
from typing import Annotated, Any

import msgspec
import typer

PANEL = "Options of every command"
OUTPUTS = ("text", "json")
_CHOICES: dict[str, tuple[str, tuple[str, ...]]] = {
    "env": ("Environment", ("local", "test", "staging", "production")),
    "db": ("Database", ("postgres", "cassandra", "memory")),
    "fs": ("Files", ("local", "s3", "minio")),
    "cache": ("Cache", ("redis", "memory")),
    "mq": ("Bus", ("kafka", "redis-stream", "memory")),
    "log": ("Log format", ("json", "pretty")),
    "metrics": ("Metrics", ("prometheus", "memory", "noop")),
    "traces": ("Traces", ("otlp", "noop")),
    "secrets": ("Where secrets come from", ("env", "file", "vault")),
}
NAMES = (*_CHOICES, "auto_migrate", "output")
_TAKING_A_VALUE = frozenset(f"--{name}" for name in (*_CHOICES, "output"))
_PREFIX = "global_"


class GlobalOptions(msgspec.Struct, kw_only=True):
    """What was given before the command."""

    given: dict[str, Any] = {}


def parameters(*, skip: Collection[str] = ()) -> list[inspect.Parameter]:
    """For a command's signature; `skip` are names that the command has for something of its own."""
    made = {name: _choice(name, text, choices) for name, (text, choices) in _CHOICES.items()}
    made["auto_migrate"] = Annotated[
        bool | None,
        typer.Option(
            "--auto-migrate/--no-auto-migrate",
            help="Apply pending migrations at start (by default yes, but not in production).",
            rich_help_panel=PANEL,
            show_default=False,
        ),
    ]
    made["output"] = _choice("output", "How results are printed", OUTPUTS)
    return [
        inspect.Parameter(_PREFIX + name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in made.items()
        if name not in skip
    ]


def taken(given: dict[str, Any]) -> dict[str, Any]:
    """Those that were given, by name; they are removed from `given`."""
    found = {name: given.pop(_PREFIX + name, None) for name in NAMES}
    return {name: value for name, value in found.items() if value is not None}


def bare_words(argv: Sequence[str]) -> list[str]:
    """The words of a command line that are neither options of every command nor their values: the first is the
    command's name."""
    return list(_bare_words(iter(argv)))


def _bare_words(words: Iterator[str]) -> Iterator[str]:
    for word in words:
        if word in _TAKING_A_VALUE:
            next(words, None)
        elif not word.startswith("-"):
            yield word


def wants_json(argv: Sequence[str]) -> bool:
    """Before the command line could be read as a whole, because something in it is wrong."""
    return any(
        word == "--output=json" or (word == "--output" and following == "json")
        for word, following in zip(argv, [*argv[1:], ""], strict=False)
    )


def _choice(name: str, text: str, choices: tuple[str, ...]) -> Any:
    key = "" if name == "output" else f" [dim]\\[MILLRACE_{name.upper()}][/dim]"
    option = typer.Option(
        f"--{name}",
        metavar="NAME",
        help=f"{text}: {', '.join(choices[:-1])} or {choices[-1]}.{key}",
        rich_help_panel=PANEL,
        show_default=False,
        autocompletion=lambda: list(choices),
    )
    return Annotated[str | None, option]
