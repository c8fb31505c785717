"""The commands that follow from modules: `run MODULE`, and the tools that modules offer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
import typer

from contracts.errors import Faults
from contracts.module import JobRoute, Module, Tool
from runtime import registry
from runtime.cli import run
from runtime.cli.options import Invocation, command, contract_command, run_async


def add(app: typer.Typer, words: Sequence[str]) -> None:
    """`words` are the bare words of the command line: when they name a module, only that one is imported."""
    named = words[1] if len(words) > 1 and words[0] == "run" else ""
    modules = registry.load([named] if named in registry.available() else ())
    running = typer.Typer(help="Run a module: a job to its end, a service until it is stopped.", no_args_is_help=True)
    app.add_typer(running, name="run")
    for module in modules:
        _add_run(running, module)
    groups: dict[str, typer.Typer] = {}
    for module in modules:
        for tool in module.tools:
            _add_tool(app, groups, module, tool)


def _add_run(running: typer.Typer, module: Module) -> None:
    route = next((route for route in module.routes if isinstance(route, JobRoute)), None)
    if route is None:
        command(running, module.name, examples=f"millrace run {module.name}", help=module.summary)(
            partial(_serve, module=module.name)
        )
        return
    example = f"millrace run {module.name} {_required(route.contract)}".strip()
    contract_command(
        running, module.name, route.contract, partial(run.job, module, route), help=module.summary, example=example
    )


def _serve(invocation: Invocation, *, module: str) -> int | None:
    return run.service(invocation, module)


def _add_tool(app: typer.Typer, groups: dict[str, typer.Typer], module: Module, tool: Tool) -> None:
    group_name, _, name = tool.name.rpartition(" ")
    group = app
    if group_name:
        if group_name not in groups:
            groups[group_name] = typer.Typer(help=f"Tools of {module.name}.", no_args_is_help=True)
            app.add_typer(groups[group_name], name=group_name)
        group = groups[group_name]
    contract_command(
        group,
        name,
        tool.contract,
        partial(_use, module, tool),
        help=tool.summary,
        example=f"millrace {tool.name} {_required(tool.contract)}".strip(),
    )


def _use(module: Module, tool: Tool, invocation: Invocation, given: dict[str, Any]) -> int | None:
    """Run a tool here and now, with the adapters that it asks for."""
    from runtime import arguments
    from runtime.cli.ledger_access import opened
    from runtime.injection import Needs

    settings = invocation.settings()
    asked = arguments.from_mapping(tool.contract, given, strict=False)
    needs = Needs(tool.handler, where=f"{module.name}, tool {tool.name}", job=False)
    if needs.faults:
        raise Faults("modules", needs.faults)
    ports = {**needs.per_process, **needs.per_work}

    async def act() -> None:
        async with opened(settings, *sorted(needs.adapters - {"metrics", "clock", "catalog"})) as adapters:
            made = {parameter: getattr(adapters, port) for parameter, port in ports.items()}
            answer = await tool.handler(asked, **made)
        if isinstance(answer, list | tuple):
            invocation.output.rows(answer)
        elif isinstance(answer, str):
            invocation.output.document(answer)
        elif answer is not None:
            invocation.output.value(answer)

    return run_async(act)


def _required(contract: type[msgspec.Struct]) -> str:
    fields = [field.name.replace("_", "-") for field in msgspec.structs.fields(contract) if field.required]
    return " ".join(f"--{name} {name.upper()}" for name in fields)
