"""`millrace doctor`: does everything that a worker needs answer?"""

from __future__ import annotations

import platform

import typer

from contracts.errors import MillraceError
from runtime import exits
from runtime.cli.options import Invocation, command, run_async

CHECK_TIMEOUT_S = 5.0
ADAPTERS = ("db", "ledger", "files", "cache", "secrets", "bus")


def add(app: typer.Typer) -> None:
    """Add `doctor`."""
    command(app, "doctor", examples="millrace doctor")(doctor)


def doctor(invocation: Invocation) -> int | None:
    """Check Python, settings, modules, and open and ask every adapter once."""

    async def act() -> int:
        from runtime import registry, wiring

        settings = invocation.settings()
        rows = [{"part": "python", "state": "ok", "ms": 0.0, "detail": platform.python_version()}]
        modules = registry.load(settings.modules)
        rows.append({"part": "modules", "state": "ok", "ms": 0.0, "detail": ", ".join(one.name for one in modules)})
        adapters = wiring.Adapters(settings)
        try:
            rows.extend([await _opened(adapters, name) for name in ADAPTERS])
            checks = await wiring.check(adapters.opened, adapters.clock, timeout_s=CHECK_TIMEOUT_S)
        finally:
            await adapters.close()
        for row in rows:
            if row["part"] in checks:
                latency_ms, fault = checks[str(row["part"])]
                row["ms"] = round(latency_ms, 2)
                if fault:
                    row.update(state="failed", detail=fault)
        invocation.output.rows(rows, columns=("part", "state", "ms", "detail"))
        return exits.DONE if all(row["state"] == "ok" for row in rows) else exits.FAILED

    return run_async(act)


async def _opened(adapters: object, name: str) -> dict[str, object]:
    from runtime.wiring import Adapters

    assert isinstance(adapters, Adapters)
    try:
        await adapters.open(name)
    except MillraceError as error:
        return {"part": name, "state": "failed", "ms": 0.0, "detail": str(error)}
    return {"part": name, "state": "ok", "ms": 0.0, "detail": adapters.opened[name].address}
