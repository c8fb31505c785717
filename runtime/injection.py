"""What a handler asks for by annotation, resolved once at start.

    async def run(cmd: RunBatchEtl, job: Job, db: Db, files: Files) -> Report: ...
                  └ the message     └ of this run  └ adapters of the process

The first parameter is the message (`Sequence[T]` on a batch route). Every other one is a port, found by its type.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from contracts import ports
from contracts.errors import Faults
from contracts.job import Job
from contracts.module import JobRoute, Module, Route, StreamRoute

Handler = Callable[..., Awaitable[Any]]

# What has one instance for each process, under the name that `Adapters` knows it by.
PER_PROCESS: dict[Any, str] = {
    ports.Files: "files",
    ports.Cache: "cache",
    ports.Catalog: "catalog",
    ports.Secrets: "secrets",
    ports.Metrics: "metrics",
    ports.Clock: "clock",
}
# What is made for each piece of work, out of an adapter of the process where one stands behind it.
PER_WORK: dict[Any, str] = {ports.Db: "db", ports.Log: "log", ports.Emit: "emit", Job: "job"}
_BACKED_BY = {"db": "db", "emit": "bus"}


class Needs:
    """The parameters of one handler: what they are called and what they ask for."""

    def __init__(self, handler: Handler, *, where: str, message: bool = True, job: bool = True) -> None:
        self.per_process: dict[str, str] = {}
        self.per_work: dict[str, str] = {}
        self.faults: list[str] = []
        if not inspect.iscoroutinefunction(handler):
            self.faults.append(f"{where}: the handler must be `async def`")
        try:
            hints = typing.get_type_hints(handler)
        except NameError as error:
            self.faults.append(f"{where}: {error}; the annotation must be importable at run time")
            return
        parameters = list(inspect.signature(handler).parameters.values())
        if message and not parameters:
            self.faults.append(f"{where}: the handler takes no message; its first parameter must be the contract")
        for parameter in parameters[1 if message else 0 :]:
            self._resolve(parameter, hints.get(parameter.name), where, job)

    def _resolve(self, parameter: inspect.Parameter, hint: Any, where: str, job: bool) -> None:
        if hint in PER_PROCESS:
            self.per_process[parameter.name] = PER_PROCESS[hint]
        elif hint is Job and not job:
            self.faults.append(f"{where}: parameter {parameter.name!r} asks for Job, which only a job's handler has")
        elif hint in PER_WORK:
            self.per_work[parameter.name] = PER_WORK[hint]
        elif parameter.default is inspect.Parameter.empty:
            allowed = ", ".join(sorted(port.__name__ for port in (*PER_PROCESS, *PER_WORK)))
            asked = "nothing" if hint is None else getattr(hint, "__name__", str(hint))
            self.faults.append(f"{where}: parameter {parameter.name!r} asks for {asked}; it can be one of {allowed}")

    @property
    def adapters(self) -> set[str]:
        """The names of the process's adapters that must be there."""
        return {
            *self.per_process.values(),
            *(_BACKED_BY[name] for name in self.per_work.values() if name in _BACKED_BY),
        }


def needs_of(module: Module, route: Route) -> Needs:
    """What a route's handler asks for, and what is wrong with it."""
    needs = Needs(route.handler, where=f"{module.name}, {route.address}", job=isinstance(route, JobRoute))
    if not needs.faults:
        needs.faults.extend(_message_faults(module, route))
    return needs


def _message_faults(module: Module, route: Route) -> list[str]:
    hints = typing.get_type_hints(route.handler)
    first = next(iter(inspect.signature(route.handler).parameters))
    wanted: Any = route.contract
    if isinstance(route, StreamRoute) and route.batch:
        wanted = Sequence[route.contract]  # type: ignore[name-defined]
    if hints.get(first) == wanted:
        return []
    shown = f"Sequence[{route.contract.__name__}]" if wanted is not route.contract else route.contract.__name__
    return [f"{module.name}, {route.address}: the first parameter must be annotated {shown}"]


def check(modules: Sequence[Module], provided: frozenset[str]) -> dict[tuple[str, str], Needs]:
    """The needs of every route by module and address; raises `Faults` with all that are unmet."""
    found: dict[tuple[str, str], Needs] = {}
    faults: list[str] = []
    for module in modules:
        for route in module.routes:
            needs = needs_of(module, route)
            faults.extend(needs.faults)
            missing = sorted(needs.adapters - provided)
            faults.extend(f"{module.name}, {route.address}: there is no adapter for {name}" for name in missing)
            found[module.name, route.address] = needs
        for hook in (*module.startup_hooks, *module.shutdown_hooks):
            faults.extend(Needs(hook, where=f"{module.name}, hook {hook.__name__}", message=False, job=False).faults)
    if faults:
        raise Faults("modules ask for what is not there", faults)
    return found
