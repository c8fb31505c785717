"""Finding modules by name: each is a package of `modules/` that exports `module`."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterable, Sequence

from contracts.errors import Faults
from contracts.module import JobRoute, Module, StreamRoute


def available() -> list[str]:
    """The names of all modules, without importing any."""
    package = importlib.import_module("modules")
    return sorted(found.name for found in pkgutil.iter_modules(package.__path__) if found.ispkg)


def load(names: Sequence[str] = ()) -> list[Module]:
    """The named modules, or all; raises `Faults` with every name that isn't there or doesn't declare a module."""
    known = available()
    faults, modules = [], []
    for name in names or known:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            faults.append(f"there is no module {name!r}; there are: {', '.join(known) or 'none'}{hint}")
            continue
        module = getattr(importlib.import_module(f"modules.{name}"), "module", None)
        if not isinstance(module, Module):
            faults.append(f"modules/{name}/__init__.py must export `module`, a contracts.module.Module")
        elif module.name != name:
            faults.append(f"modules/{name} declares the name {module.name!r}: it must be the package's")
        else:
            modules.append(module)
    faults.extend(_clashes(modules))
    if faults:
        raise Faults("modules", faults)
    return modules


def _clashes(modules: Iterable[Module]) -> list[str]:
    """A command has one owner, and no two routes may share an address and a group."""
    seen: dict[tuple[str, str], str] = {}
    clashes = []
    for module in modules:
        for route in module.routes:
            group = route.group if isinstance(route, StreamRoute) else "jobs"
            owner = seen.setdefault((route.address, group), module.name)
            if owner != module.name:
                clashes.append(f"{route.address} is declared by both {owner} and {module.name}")
    return clashes


def owner_of(address: str, modules: Iterable[Module]) -> tuple[Module, JobRoute | StreamRoute] | None:
    """The module and route of an address."""
    for module in modules:
        for route in module.routes:
            if route.address == address:
                return module, route
    return None
