"""The commands that follow from modules: `run MODULE`, and the tools that modules offer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import msgspec
import typer

from contracts.errors import Faults
from contracts.module import Module, Tool
from runtime import registry
from runtime.cli import run
from runtime.cli.command import Options, command
from runtime.cli.invocation import Invocation
from runtime.cli.output import Output
from runtime.cli.tool import use
from runtime.descriptor import main_command


def add(app: typer.Typer, words: Sequence[str]) -> None:
    """`words` are the bare words of the command line: when they name a module, only that one is imported."""
    named = words[1] if len(words) > 1 and words[0] == "run" else ""
    found = registry.find([named] if named in registry.available() else ())
    running = typer.Typer(help="Run a module: a job to its end, a service until it is stopped.", no_args_is_help=True)
    app.add_typer(running, name="run")
    for module in found.modules:
        _add_run(running, module)
    for name, fault in found.broken.items():
        _add_broken(running, name, fault)
    groups: dict[str, typer.Typer] = {}
    if words[:1] != ["run"]:
        for module in found.modules:
            for tool in module.tools:
                _add_tool(app, groups, module, tool)
        _note(found.broken)


def _add_run(running: typer.Typer, module: Module) -> None:
    route = main_command(module)
    path = f"run {module.name}"
    if route is None or module.kind != "job":
        contract, act = module.arguments or Options, partial(run.service, module)
    else:
        contract, act = route.contract, partial(run.job, module, route)
    command(running, path, contract, act, help=module.summary, examples=module.examples)


def _add_broken(running: typer.Typer, name: str, fault: str) -> None:
    """A module that can't be used says why when it is asked for."""

    def tell(_invocation: Invocation, _asked: msgspec.Struct) -> int | None:
        raise Faults("modules", [fault])

    command(running, f"run {name}", Options, tell, help="It can't be used; run it to see why.")


def _note(broken: Mapping[str, str]) -> None:
    for fault in broken.values():
        Output(as_json=False).note(fault)


def _add_tool(app: typer.Typer, groups: dict[str, typer.Typer], module: Module, tool: Tool) -> None:
    group_name = tool.name.rpartition(" ")[0]
    group = app
    if group_name:
        if group_name not in groups:
            groups[group_name] = typer.Typer(help=f"Tools of {module.name}.", no_args_is_help=True)
            app.add_typer(groups[group_name], name=group_name)
        group = groups[group_name]
    command(group, tool.name, tool.contract, partial(use, module, tool), help=tool.summary)
