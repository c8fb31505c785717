"""Tools of modules, such as `millrace datasets check`: run here and now, with the adapters that they ask for."""

from __future__ import annotations

import msgspec

from contracts.errors import Faults
from contracts.module import Module, Tool
from runtime.cli.command import run_async
from runtime.cli.invocation import Invocation

_WITHOUT_OPENING = frozenset({"metrics", "clock", "catalog", "log"})


def use(module: Module, tool: Tool, invocation: Invocation, asked: msgspec.Struct) -> int | None:
    """Call the tool and print what it returns."""
    from runtime.cli.ledger_access import opened
    from runtime.injection import needs_of_tool, refused
    from runtime.wiring import lacking

    needs = needs_of_tool(module, tool)
    faults = needs.faults + refused(module.name, {f"tool {tool.name}": needs}, lacking(invocation.settings))
    if faults:
        raise Faults("modules", faults)
    ports = {**needs.per_process, **needs.per_work}

    async def act() -> None:
        async with opened(invocation.settings, *sorted(needs.adapters - _WITHOUT_OPENING)) as adapters:
            made = {parameter: getattr(adapters, port) for parameter, port in ports.items()}
            answer = await tool.handler(asked, **made)
        if isinstance(answer, list | tuple):
            invocation.output.rows(answer)
        elif isinstance(answer, str):
            invocation.output.document(answer)
        elif answer is not None:
            invocation.output.value(answer)

    return run_async(act)
