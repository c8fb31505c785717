"""`millrace flags`: the switches of modules, and how they stand."""

from __future__ import annotations

import msgspec
import typer

from contracts.errors import Faults
from runtime.cli.command import Options, command, run_async
from runtime.cli.invocation import Invocation


class FlagLine(msgspec.Struct, frozen=True, kw_only=True):
    """A flag in the list."""

    flag: str
    value: bool | int | float | str
    source: str
    default: bool | int | float | str
    variable: str
    summary: str


def add(app: typer.Typer) -> None:
    """Add `flags list`."""
    group = typer.Typer(help="The switches of modules, and how they stand.", no_args_is_help=True)
    app.add_typer(group, name="flags")
    command(group, "flags list", Options, list_, examples="FLAG_ORDERS_FAST_PATH=on millrace flags list")


def list_(invocation: Invocation, _: Options) -> int | None:
    """List every flag, how it stands for a process that starts here, and who says so."""
    from runtime import registry
    from runtime.wiring import Adapters, catalog_of

    async def act() -> None:
        adapters = Adapters(invocation.settings)
        flags = [
            one for module in registry.find(catalog=catalog_of(invocation.settings)).modules for one in module.flags
        ]
        await adapters.open("flags")
        if faults := adapters.flags.faults(flags):
            raise Faults("flags", faults)
        lines = []
        for flag in flags:
            now = adapters.flags.turned(flag)
            lines.append(
                FlagLine(
                    flag=flag.name,
                    value=now.value,
                    source=now.source,
                    default=flag.default,
                    variable=now.variable,
                    summary=flag.help,
                )
            )
        invocation.output.rows(lines, columns=("flag", "value", "source", "default", "variable", "summary"))

    return run_async(act)
