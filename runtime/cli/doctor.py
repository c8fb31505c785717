"""`millrace doctor`: is everything there that a worker needs, and does it answer?"""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
import typer

from contracts.errors import Faults, MillraceError, Unavailable
from runtime import exits
from runtime.cli.command import Options, command, run_async
from runtime.cli.invocation import Invocation

if TYPE_CHECKING:
    from runtime.settings import Settings
    from runtime.wiring import Adapters

CHECK_TIMEOUT_S = 5.0
ADAPTERS = ("db", "ledger", "statements", "files", "cache", "secrets", "bus")
OLDEST_PYTHON = (3, 11)
LEAST_FREE_BYTES = 1 << 30
CHECKOUT = Path(__file__).resolve().parent.parent.parent


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at; `failed` keeps a worker from starting or from working."""

    part: str
    state: Literal["ok", "warning", "failed"] = "ok"
    ms: float | None = None
    detail: str = ""


def add(app: typer.Typer) -> None:
    """Add `doctor`."""
    command(app, "doctor", Options, doctor, examples="millrace doctor\nmillrace doctor --env staging --output json")


def doctor(invocation: Invocation, _: Options) -> int | None:
    """Check Python, packages, settings, modules, catalog, disk and port, and ask every adapter once."""
    found = [_python(), *_packages(CHECKOUT)]
    try:
        settings = invocation.settings
    except Faults as error:
        found += [Finding(part="settings", state="failed", detail=fault) for fault in error.faults]
        found += _modules(())
        _print(invocation, found)
        return exits.WRONG
    found += [Finding(part="settings", detail=f"environment {settings.env}"), *_modules(settings.modules, settings)]
    found += [*_disk(settings.millrace_home), *_security(settings)]
    return run_async(lambda: _rest(invocation, settings, found))


async def _rest(invocation: Invocation, settings: Settings, found: list[Finding]) -> int:
    """What needs adapters."""
    from runtime import wiring

    try:
        adapters = wiring.Adapters(settings)
    except Faults as error:
        found += [Finding(part="adapters", state="failed", detail=fault) for fault in error.faults]
    else:
        found += [*_catalog(adapters), await _port(settings)]
        try:
            found += await _asked(adapters)
        finally:
            await adapters.close()
    _print(invocation, found)
    return exits.FAILED if any(one.state == "failed" for one in found) else exits.DONE


def _print(invocation: Invocation, found: list[Finding]) -> None:
    invocation.output.rows(found, columns=("part", "state", "ms", "detail"))


def _python() -> Finding:
    version = platform.python_version()
    if sys.version_info < OLDEST_PYTHON:
        wanted = ".".join(map(str, OLDEST_PYTHON))
        return Finding(part="python", state="failed", detail=f"{version} is older than {wanted}; run `./task setup`")
    return Finding(part="python", detail=f"{version} in {sys.prefix}")


def _packages(checkout: Path) -> Iterable[Finding]:
    """Whether what is installed is what is locked; nothing to compare with where the lock isn't."""
    try:
        lock = (checkout / "requirements.lock").read_text()
    except OSError:
        return
    locked, wrong = differences(lock, _installed_version)
    if wrong:
        shown = ", ".join(wrong[:5]) + (f" and {len(wrong) - 5} more" if len(wrong) > 5 else "")
        detail = f"not as requirements.lock has them: {shown}; run `./task setup`"
        yield Finding(part="packages", state="warning", detail=detail)
    else:
        yield Finding(part="packages", detail=f"{locked} as locked")


def differences(lock: str, installed: Callable[[str], str | None]) -> tuple[int, list[str]]:
    """How many pins were compared, and those that differ. What is locked for other platforms, or for an extra that
    isn't installed, is not there and not missed."""
    compared, wrong = 0, []
    for line in lock.splitlines():
        name, pinned, rest = line.partition("==")
        if not pinned or line[0] in " #":
            continue
        version = rest.split()[0].rstrip(";")
        if (found := installed(name.strip())) is None:
            continue
        compared += 1
        if found != version:
            wrong.append(f"{name} {found} (locked: {version})")
    return compared, wrong


def _installed_version(name: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _modules(names: tuple[str, ...], settings: Settings | None = None) -> Iterable[Finding]:
    from runtime import injection, registry, wiring

    modules = registry.find(names, catalog=wiring.catalog_of(settings) if settings else None)
    yield from (Finding(part="modules", state="failed", detail=fault) for fault in modules.broken.values())
    try:
        registry.check_together(modules.modules)
        injection.check(modules.modules, wiring.PROVIDED, wiring.lacking(settings) if settings else None)
    except Faults as error:
        yield from (Finding(part="modules", state="failed", detail=fault) for fault in error.faults)
    else:
        yield Finding(part="modules", detail=", ".join(one.name for one in modules.modules) or "none")


def _disk(home: Path) -> Iterable[Finding]:
    """Room for what the embedded parts keep."""
    there = next(path for path in (home, *home.parents) if path.exists())
    free = shutil.disk_usage(there).free
    detail = f"{free / 1e9:.1f} GB free for {home}"
    enough = free >= LEAST_FREE_BYTES
    yield Finding(part="disk", state="ok" if enough else "warning", detail=detail)


def _security(settings: Settings) -> Iterable[Finding]:
    """Who we are to what we connect to, and whether others can listen."""
    from runtime import security

    for way in security.in_force(settings):
        yield Finding(part=f"{way.part} security", state="warning" if way.exposed else "ok", detail=way.text)


def _catalog(adapters: Adapters) -> Iterable[Finding]:
    found = adapters.catalog.survey()
    yield from (Finding(part="catalog", state="failed", detail=fault) for fault in found.faults)
    if not found.faults:
        counts = ", ".join(f"{count} {kind}" for kind, count in found.counts.items())
        yield Finding(part="catalog", detail=f"{counts} in {adapters.settings.catalog_dir}")


async def _port(settings: Settings) -> Finding:
    """Free, or taken by a worker of ours, which is fine as well."""
    from runtime.cli.desk import worker_here
    from runtime.http.listen import bound

    if not settings.http_port:
        return Finding(part="port", detail="any free one")
    try:
        bound(settings.http_host, settings.http_port, setting="HTTP_PORT").close()
    except Faults as error:
        if worker := await worker_here(settings):
            return Finding(part="port", detail=f"a worker answers at {worker.url}")
        return Finding(part="port", state="warning", detail="; ".join(error.faults))
    return Finding(part="port", detail=f"{settings.http_host}:{settings.http_port} is free")


async def _asked(adapters: Adapters) -> list[Finding]:
    """Every adapter opened and checked; one that stands on a broken one is broken with it."""
    from runtime import wiring

    found = {}
    for name in ADAPTERS:
        if name == "statements" and adapters.statements is adapters.db:
            continue  # it is asked already
        try:
            await adapters.open(name)
        except MillraceError as error:
            found[name] = Finding(part=name, state="failed", detail=str(error))
        else:
            found[name] = Finding(part=name, detail=adapters.opened[name].address)
    checks = await wiring.check(adapters.opened, adapters.clock, timeout_s=CHECK_TIMEOUT_S)
    for name, (latency_ms, fault) in checks.items():
        state: Literal["ok", "failed"] = "failed" if fault else "ok"
        detail = fault or found[name].detail
        found[name] = Finding(part=name, state=state, ms=round(latency_ms, 2), detail=detail)
    if found["db"].state == "ok":
        found["migrations"] = await _migrations(adapters)
    return list(found.values())


async def _migrations(adapters: Adapters) -> Finding:
    from migrations import runner

    try:
        found = await runner.status(adapters.db)
    except (MillraceError, Unavailable) as error:
        return Finding(part="migrations", state="failed", detail=str(error))
    if wrong := [one.name for one in found if one.state == "changed"]:
        detail = f"changed after they were applied: {', '.join(wrong)}; see `millrace migrate status`"
        return Finding(part="migrations", state="failed", detail=detail)
    if pending := [one for one in found if one.state == "pending"]:
        automatic = adapters.settings.auto_migrate
        detail = f"pending: {', '.join(one.name for one in pending)}; "
        detail += "the next start applies them" if automatic else "run `millrace migrate up`"
        needed = not automatic and any(one.phase == "before" for one in pending)
        return Finding(part="migrations", state="failed" if needed else "warning", detail=detail)
    if faults := runner.unfit(found):
        return Finding(part="migrations", state="failed", detail="; ".join(faults))
    return Finding(part="migrations", detail=f"{len(found)} applied")
