"""Commands: a contract gives the options, a function does the work, and whatever goes wrong is said in words."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import typer

from contracts.errors import BadInput, Faults, MillraceError
from runtime import exits
from runtime.cli import global_options
from runtime.cli.contract_options import OptionsOf
from runtime.cli.invocation import Invocation
from runtime.cli.output import Output

Act = Callable[[Invocation, Any], int | None]
"""Does what a command is for, with its options as a value of its contract; returns an exit code, None for 0."""

# Typer reads on past what it doesn't know: we tell of it together with everything else.
_LOOSE = {"ignore_unknown_options": True, "allow_extra_args": True}


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of a command that has none but those of every command; the others declare theirs as fields below this."""


def command(
    app: typer.Typer,
    path: str,
    contract: type[msgspec.Struct],
    act: Act,
    *,
    help: str = "",
    examples: str = "",
) -> None:
    """Add the command `millrace PATH` to the group that it belongs to; its options are the fields of `contract`.

    `help` is the function's docstring unless given, `examples` are lines; without any, one is made.
    """
    options = OptionsOf(contract)
    text = help or inspect.getdoc(act) or ""
    shown = examples or options.example(f"millrace {path}")

    def called(**given: Any) -> int:
        context: typer.Context = given.pop("context")
        chosen = {**_before(context), **global_options.taken(given)}
        output, faults = _output(chosen)
        invocation = Invocation(chosen, output)

        def whole() -> int | None:
            asked, wrong = options.read(given, context.args)
            if asked is None or faults:
                raise Faults("arguments and settings", [*faults, *wrong, *_settings_faults(invocation)])
            return act(invocation, asked)

        return guarded(whole, output)

    parameters = [
        inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context),
        *options.parameters(),
        *global_options.parameters(skip={one.name for one in options.arguments}),
    ]
    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    app.command(
        path.rpartition(" ")[2],
        help=f"{text}\n\n[bold]Example[/bold]\n\n{_lines(shown)}",
        short_help=text.partition("\n")[0],
        context_settings=_LOOSE,
    )(called)


def guarded(act: Callable[[], int | None], output: Output) -> int:
    """The exit code of `act`; what it raises is said in words, never as a traceback."""
    try:
        return act() or exits.DONE
    except (Faults, BadInput) as error:
        output.faults(error)
        return exits.WRONG
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


def run_async(act: Callable[[], Awaitable[int | None]]) -> int | None:
    """Run a coroutine function to its end in an event loop of its own; SIGTERM ends it as Ctrl-C does."""
    import asyncio
    import signal

    terminated = False

    async def whole() -> int | None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def end() -> None:
            nonlocal terminated
            terminated = True
            task.cancel()

        loop.add_signal_handler(signal.SIGTERM, end)
        return await act()

    try:
        return asyncio.run(whole())
    except asyncio.CancelledError:
        if terminated:
            raise KeyboardInterrupt from None
        raise


def _before(context: typer.Context) -> dict[str, Any]:
    before = context.find_root().obj
    return before.given if isinstance(before, global_options.GlobalOptions) else {}


def _output(chosen: dict[str, Any]) -> tuple[Output, list[str]]:
    wanted = chosen.pop("output", "text")
    if wanted in global_options.OUTPUTS:
        return Output(as_json=wanted == "json"), []
    return Output(as_json=False), [f"--output: {wanted!r}; it can be {' or '.join(global_options.OUTPUTS)}"]


def _settings_faults(invocation: Invocation) -> list[str]:
    """So that whoever mends the arguments hears of them, too."""
    try:
        _ = invocation.settings
    except Faults as error:
        return error.faults
    return []


def _lines(examples: str) -> str:
    # A line of its own for each: Rich joins those without an empty one between them.
    return "\n\n".join(f"  [cyan]{line.strip()}[/cyan]" for line in examples.strip().splitlines())


def _keep_traceback() -> str:
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="millrace-", suffix=".txt", delete=False) as kept:
        traceback.print_exc(file=kept)
    return kept.name
