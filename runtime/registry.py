"""Finding modules by name: each is a package of `modules/` that exports `module`."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import traceback
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from contracts.errors import Faults, Gathered, NotFound
from contracts.module import Module, Route, StreamRoute
from contracts.ports import Catalog


class Found(msgspec.Struct, kw_only=True):
    """What looking for modules brought: those that can be used, and by name what is wrong with the others."""

    modules: list[Module] = []
    broken: dict[str, str] = {}


def available() -> list[str]:
    """The names of all modules, without importing any."""
    package = importlib.import_module("modules")
    return sorted(found.name for found in pkgutil.iter_modules(package.__path__) if found.ispkg)


def find(names: Sequence[str] = (), *, catalog: Catalog | None = None) -> Found:
    """The named modules, or all, each by itself: a broken one is told and does not keep the others away. With a
    `catalog` they have the routes of what is declared there."""
    known = available()
    found = Found()
    for name in dict.fromkeys(names or known):
        module = _unknown(name, known) if name not in known else _declared(name)
        if isinstance(module, Module) and catalog is not None:
            module = _configured(module, catalog)
        if isinstance(module, Module):
            found.modules.append(module)
        else:
            found.broken[name] = module
    return found


def load(names: Sequence[str] = (), *, catalog: Catalog | None = None) -> list[Module]:
    """The named modules, or all, to be run together; raises `Faults` with everything that is wrong with any."""
    found = find(names, catalog=catalog)
    if faults := [*found.broken.values(), *_clashes(found.modules)]:
        raise Faults("modules", faults)
    return found.modules


def configured(modules: Iterable[Module], catalog: Catalog, arguments: Mapping[str, msgspec.Struct]) -> list[Module]:
    """The modules with their routes of the catalog, by what each was asked for; raises `Faults` with everything that is
    wrong with what is declared there."""
    made: list[Module] = []
    gathered = Gathered("catalog")
    for module in modules:
        with gathered.one():
            made.append(module.configured(catalog, arguments.get(module.name)))
    gathered.faults += _clashes(made)
    gathered.tell()
    return made


def check_together(modules: Iterable[Module]) -> None:
    """Raises `Faults` with every address that more than one of them claims."""
    if clashes := _clashes(modules):
        raise Faults("modules", clashes)


def owner_of(address: str, modules: Iterable[Module]) -> tuple[Module, Route] | None:
    """The module and route of an address."""
    for module in modules:
        for route in module.routes:
            if route.address == address:
                return module, route
    return None


def _declared(name: str) -> Module | str:
    """The module, or what is wrong with it."""
    try:
        module = getattr(importlib.import_module(f"modules.{name}"), "module", None)
    except Exception as error:  # noqa: BLE001 - whatever a module does when it is imported is that module's fault
        return f"module {name} can't be imported: {type(error).__name__}: {error}{_place_of(error)}"
    if not isinstance(module, Module):
        return f"modules/{name}/__init__.py must export `module`, a contracts.module.Module"
    if module.name != name:
        return f"modules/{name} declares the name {module.name!r}: it must be the package's"
    return module


def _configured(module: Module, catalog: Catalog) -> Module | str:
    try:
        return module.configured(catalog)
    except (Faults, NotFound) as error:
        return f"module {module.name}: {error}"


def _unknown(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"there is no module {name!r}; there are: {', '.join(known) or 'none'}{hint}"


def _place_of(error: Exception) -> str:
    """The last line of ours on the way to the error."""
    if isinstance(error, SyntaxError):
        return ""  # its text has the place
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_machinery(frame.filename)]
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if len(frames) > 1 else ""


def _is_machinery(filename: str) -> bool:
    return filename.startswith("<frozen importlib") or filename == importlib.__file__


def _clashes(modules: Iterable[Module]) -> list[str]:
    """A command has one owner; a stream has one for each group, and all agree on what a message of it is."""
    clashes = []
    owners: dict[tuple[str, str], str] = {}
    firsts: dict[str, tuple[str, Route]] = {}
    for module in modules:
        for route in module.routes:
            kind, group = _kind(route)
            first_owner, first = firsts.setdefault(route.address, (module.name, route))
            owner = owners.setdefault((route.address, group), module.name)
            if _kind(first)[0] != kind:
                clashes.append(f"{route.address} is a {_kind(first)[0]} of {first_owner} and a {kind} of {module.name}")
            elif owner != module.name:
                clashes.append(f"{route.address} is declared by both {owner} and {module.name}")
            elif first.contract is not route.contract:
                clashes.append(
                    f"{route.address} is {first.contract.__name__} to {first_owner} and {route.contract.__name__} to "
                    f"{module.name}: agree on one contract, in contracts/"
                )
    return clashes


def _kind(route: Route) -> tuple[str, str]:
    return ("stream", route.group) if isinstance(route, StreamRoute) else ("job", "jobs")
