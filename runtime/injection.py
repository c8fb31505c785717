"""What a handler asks for by annotation, resolved once at start.

    async def run(cmd: RunBatchEtl, job: Job, db: Db, files: Files) -> Report: ...
                  └ the message     └ of this run  └ adapters of the process

The first parameter is the message (`Sequence[T]` on a batch route). Every other one is a port, found by its type.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from typing import Any

import msgspec

from contracts import ports
from contracts.errors import Faults
from contracts.http import HttpRequest, HttpRoute
from contracts.job import Job
from contracts.module import JobRoute, Module, Route, StreamRoute, Tool
from runtime.keeper import is_plain

Handler = Callable[..., Any]

# What has one instance for each process, under the name that `Adapters` knows it by.
PER_PROCESS: dict[Any, str] = {
    ports.Files: "files",
    ports.Flags: "flags",
    ports.Cache: "cache",
    ports.Catalog: "catalog",
    ports.Secrets: "secrets",
    ports.Metrics: "metrics",
    ports.Clock: "clock",
    ports.History: "history",
    ports.Statements: "statements",
}
# What is made for each piece of work, out of an adapter of the process where one stands behind it.
PER_WORK: dict[Any, str] = {
    ports.Db: "db",
    ports.Log: "log",
    ports.Emit: "emit",
    ports.Feed: "feed",
    ports.State: "state",
    Job: "job",
}
_BACKED_BY = {"db": "db", "emit": "bus", "feed": "bus"}


# What a plain `def` can use: it runs in a thread, where nothing can be awaited.
IN_THREADS = frozenset({"log", "metrics", "clock", "catalog", "flags", "job"})

MOST_PLACES = 3
"""Of a module that asks for what can't be had; more are counted."""

# Ports that stand for one piece of work; a hook and a tool are none.
_ONLY_OF_WORK = {
    "job": "which only a job's handler has",
    "feed": "which only a job's handler has",
    "emit": "which only handlers of messages have",
    "state": "which only a stream's handler of batches has",
}


class Needs:
    """The parameters of one handler: what they are called and what they ask for. `message`: the first parameter is
    the message; `without` are names of ports (`job`, `emit`) that can't be had here; `threads`: it may be a plain
    `def`."""

    def __init__(
        self,
        handler: Handler,
        *,
        where: str,
        message: bool = True,
        without: Collection[str] = (),
        threads: bool = False,
    ) -> None:
        self.per_process: dict[str, str] = {}
        self.per_work: dict[str, str] = {}
        self.faults: list[str] = []
        self._where = where
        self._plain = threads and is_plain(handler)
        if inspect.isgeneratorfunction(handler) or inspect.isasyncgenfunction(handler):
            self.faults.append(f"{where}: the handler must not `yield`: it is called once, and returns")
        elif is_plain(handler) and not threads:
            self.faults.append(f"{where}: it must be `async def`; only handlers of routes may be plain functions")
        try:
            hints = typing.get_type_hints(handler)
            parameters = list(inspect.signature(handler).parameters.values())
        except Exception as error:  # noqa: BLE001 - annotations are expressions: they can raise anything
            self.faults.append(f"{where}: {error}; the annotation must be importable at run time")
            return
        if message and not parameters:
            self.faults.append(f"{where}: the handler takes no message; its first parameter must be the contract")
        for parameter in parameters[1 if message else 0 :]:
            self._resolve(parameter, hints.get(parameter.name), without)

    def _resolve(self, parameter: inspect.Parameter, hint: Any, without: Collection[str]) -> None:
        port = PER_PROCESS.get(hint) or PER_WORK.get(hint) if isinstance(hint, Hashable) else None
        asks = f"{self._where}: parameter {parameter.name!r} asks for"
        if port is None:
            if parameter.default is inspect.Parameter.empty:
                allowed = ", ".join(sorted(port.__name__ for port in (*PER_PROCESS, *PER_WORK)))
                asked = "nothing" if hint is None else getattr(hint, "__name__", str(hint))
                self.faults.append(f"{asks} {asked}; it can be one of {allowed}")
        elif port in without:
            self.faults.append(f"{asks} {hint.__name__}, {_ONLY_OF_WORK[port]}")
        elif self._plain and port not in IN_THREADS:
            self.faults.append(
                f"{asks} {hint.__name__}, which has to be awaited; a plain `def` runs in a thread and has only "
                f"{', '.join(sorted(_name_of(name) for name in IN_THREADS))}: declare the handler `async def`"
            )
        elif parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            self.faults.append(f"{asks} {hint.__name__} by position; ports are given by name: take the / away")
        else:
            (self.per_process if hint in PER_PROCESS else self.per_work)[parameter.name] = port

    @property
    def adapters(self) -> set[str]:
        """The names of the process's adapters that must be there."""
        return {
            *self.per_process.values(),
            *(_BACKED_BY[name] for name in self.per_work.values() if name in _BACKED_BY),
        }


def needs_of(module: Module, route: Route) -> Needs:
    """What a route's handler asks for, and what is wrong with it."""
    if isinstance(route, JobRoute):
        without: tuple[str, ...] = ("state",)
    else:
        without = ("job", "feed") if route.batch else ("job", "feed", "state")
    needs = Needs(route.handler, where=f"{module.name}, {route.address}", without=without, threads=True)
    if not needs.faults:
        needs.faults.extend(_message_faults(module, route))
    needs.faults.extend(_field_faults(module, route))
    return needs


def needs_of_hook(module: Module, hook: Handler) -> Needs:
    """What a hook asks for: it is given no message, and stands for no piece of work."""
    where = f"{module.name}, hook {getattr(hook, '__name__', hook)}"
    return Needs(hook, where=where, message=False, without=("job", "emit", "feed", "state"))


def needs_of_http(module: Module, route: HttpRoute) -> Needs:
    """What a path's handler asks for: its first parameter is the request."""
    needs = Needs(route.handler, where=f"{module.name}, {place_of_http(route)}", without=("job", "emit", "state"))
    if not needs.faults and first_hint(route.handler) is not HttpRequest:
        needs.faults.append(f"{module.name}, {place_of_http(route)}: the first parameter must be annotated HttpRequest")
    return needs


def needs_of_tool(module: Module, tool: Tool) -> Needs:
    """What a tool asks for, and what is wrong with it."""
    return Needs(tool.handler, where=f"{module.name}, tool {tool.name}", without=("job", "emit", "feed", "state"))


def check(
    modules: Sequence[Module], provided: frozenset[str], lacking: Mapping[str, str] | None = None
) -> dict[tuple[str, str], Needs]:
    """The needs of every route by module and place, and of every hook by module and `hook N`; raises `Faults` with all
    that are unmet. `lacking` are adapters that these settings don't give, by name, and why."""
    found: dict[tuple[str, str], Needs] = {}
    faults: list[str] = []
    for module in modules:
        for route in module.routes:
            found[module.name, place_of(route)] = needs_of(module, route)
        for path in module.http_routes:
            found[module.name, place_of_http(path)] = needs_of_http(module, path)
        for number, hook in enumerate((*module.startup_hooks, *module.shutdown_hooks), start=1):
            found[module.name, f"hook {number}"] = needs_of_hook(module, hook)
        faults.extend(fault for tool in module.tools for fault in needs_of_tool(module, tool).faults)
    for (name, place), needs in found.items():
        faults.extend(needs.faults)
        missing = sorted(needs.adapters - provided)
        faults.extend(f"{name}, {place}: there is no adapter for {port}" for port in missing)
    for module in modules:
        asked = {place: needs for (name, place), needs in found.items() if name == module.name}
        faults.extend(refused(module.name, asked, lacking or {}))
    if faults:
        raise Faults("modules ask for what is not there", faults)
    return found


def refused(module: str, needs: Mapping[str, Needs], lacking: Mapping[str, str]) -> list[str]:
    """What a module asks for at its places and can't be had with these settings, a line each."""
    faults = []
    for port, why in lacking.items():
        places = [place for place, asked in needs.items() if port in asked.adapters]
        if places:
            more = f" and {len(places) - MOST_PLACES} more" if len(places) > MOST_PLACES else ""
            faults.append(f"{module} asks for {_name_of(port)} ({', '.join(places[:MOST_PLACES])}{more}), {why}")
    return faults


def place_of(route: Route) -> str:
    """A route among those of its module: several groups can read one stream."""
    return f"{route.address} of {route.group}" if isinstance(route, StreamRoute) else route.address


def place_of_http(route: HttpRoute) -> str:
    """A path among those of its module."""
    return f"GET {route.path}"


def first_hint(handler: Handler) -> Any:
    """The annotation of the first parameter."""
    return typing.get_type_hints(handler).get(next(iter(inspect.signature(handler).parameters)))


def _name_of(port: str) -> str:
    return next(str(hint.__name__) for hint, name in (*PER_PROCESS.items(), *PER_WORK.items()) if name == port)


def _message_faults(module: Module, route: Route) -> list[str]:
    message: Any = route.message if isinstance(route, StreamRoute) else route.contract
    batch = isinstance(route, StreamRoute) and route.batch is not None
    if first_hint(route.handler) == (Sequence[message] if batch else message):
        return []
    shown = f"Sequence[{message.__name__}]" if batch else message.__name__
    return [f"{module.name}, {route.address}: the first parameter must be annotated {shown}"]


def _field_faults(module: Module, route: Route) -> list[str]:
    """Names of fields in the declaration that the contract has not: they would only be missed with a message."""
    if isinstance(route, JobRoute):
        named = [("unique", name) for name in route.unique]
    else:
        named = [("key", route.key)] if route.key is not None else []
    fields = [field.name for field in msgspec.structs.fields(route.contract)]
    return [
        f"{module.name}, {route.address}: {option}={name!r} is no field of {route.contract.__name__}; "
        f"there are: {', '.join(fields)}"
        for option, name in named
        if name not in fields
    ]
