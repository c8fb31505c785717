"""What a module is, derived from its declaration: for `millrace modules show`, the API, and the start-up summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from contracts.module import Batch, JobRoute, Kind, Module, Overrun, Retry, Route, StreamRoute
from runtime.injection import Needs, needs_of
from runtime.pipeline import is_transactional
from runtime.schema import schema_of

if TYPE_CHECKING:
    from runtime.worker import Worker

__all__ = ["Argument", "ModuleDescriptor", "RouteDescriptor", "arguments_of", "describe", "schema_of", "summary"]

Guarantee = Literal["recorded-once", "transactional", "at-least-once"]

PROMISES: Mapping[Guarantee, str] = {
    "recorded-once": "recorded once by its id, resumed from its checkpoint after a crash; its Db is fenced",
    "transactional": "effects and position commit together: nothing is lost and no effect happens twice",
    "at-least-once": "acknowledged after its handler ended: nothing is lost, a repeat is possible",
}

BESIDE = "; what it does by Statements is outside of that, and happens again with a repeat"

# JSON Schema's words for what a value may be, and its types as people name them on a command line.
_BOUNDS = (
    *("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "multipleOf"),
    *("minLength", "maxLength", "pattern", "minItems", "maxItems"),
)
_OF_STREAMS = ("lanes", "partitions", "key", "group", "batch", "dedupe_s", "in_lane_s", "retention_s", "tick_s")
_TYPES = {"number": "float"}


class Argument(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One field of a command. `bounds` has JSON Schema's words; `format` is one of its formats (`date`, `uuid`, …)."""

    name: str
    type: str
    required: bool
    nullable: bool = False
    default: Any = None
    choices: tuple[Any, ...] = ()
    bounds: dict[str, Any] = msgspec.field(default_factory=dict)
    format: str = ""
    description: str = ""

    @property
    def option(self) -> str:
        return "--" + self.name.replace("_", "-")


class RouteDescriptor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One route. `concurrency`, `unique` and `unique_skip` are of jobs; from `lanes` on they are of streams."""

    address: str
    kind: Literal["job", "stream"]
    contract: str
    guarantee: Guarantee
    promise: str
    retry: Retry
    timeout_s: float
    overrun: Overrun
    summary: str = ""
    concurrency: int | None = None
    unique: tuple[str, ...] = ()
    unique_skip: bool = False
    lanes: int | None = None
    partitions: int | None = None
    key: str | None = None
    group: str | None = None
    batch: Batch | None = None
    dedupe_s: float | None = None
    in_lane_s: float | None = None
    retention_s: float | None = None
    tick_s: float | None = None


class ToolDescriptor(msgspec.Struct, frozen=True, kw_only=True):
    """A command of the module's own."""

    name: str
    summary: str
    arguments: tuple[Argument, ...]


class ModuleDescriptor(msgspec.Struct, frozen=True, kw_only=True):
    """A module as others see it. `needs` are the ports that it asks for, `arguments` those of its main command, or
    of its service."""

    name: str
    display_name: str
    kind: Kind
    version: str
    summary: str
    needs: tuple[str, ...]
    routes: tuple[RouteDescriptor, ...]
    paths: tuple[str, ...]
    """What it answers over HTTP itself."""
    command: str | None
    """Address of the main command: the module's first job."""
    arguments: tuple[Argument, ...]
    tools: tuple[ToolDescriptor, ...]


def describe(module: Module) -> ModuleDescriptor:
    """Everything that the declaration says, without starting anything."""
    main = main_command(module)
    contract = main.contract if main else module.arguments
    return ModuleDescriptor(
        name=module.name,
        display_name=module.display_name,
        kind=module.kind,
        version=module.version,
        summary=module.summary,
        needs=_needs(module),
        routes=tuple(_route(module, route) for route in module.routes),
        paths=tuple(route.path for route in module.http_routes),
        command=main.address if main else None,
        arguments=arguments_of(contract) if contract else (),
        tools=tuple(
            ToolDescriptor(name=tool.name, summary=tool.summary, arguments=arguments_of(tool.contract))
            for tool in module.tools
        ),
    )


def main_command(module: Module) -> JobRoute | None:
    """What `millrace run MODULE` publishes: the first job that the module declares."""
    return next((route for route in module.routes if isinstance(route, JobRoute)), None)


def arguments_of(contract: type[msgspec.Struct]) -> tuple[Argument, ...]:
    """The fields of a contract as arguments, in the order of their declaration."""
    schema = schema_of(contract)
    required = schema.get("required", ())
    return tuple(_argument(name, field, name in required) for name, field in schema["properties"].items())


def guarantee_of(module: Module, route: Route) -> Guarantee:
    """What the runtime promises for a route, by what its handler asks for."""
    if isinstance(route, JobRoute):
        return "recorded-once"
    return "transactional" if is_transactional(route, needs_of(module, route).per_work.values()) else "at-least-once"


def summary(worker: Worker) -> dict[str, Any]:
    """What a worker is, for its one start-up line: flat, without secrets."""
    took_s = (worker.ready_at or worker.clock.monotonic()) - worker.made_at
    routes = [(module, route) for module in worker.modules for route in module.routes]
    said: dict[str, Any] = {
        "modules": ", ".join(f"{module.name} {module.version}" for module in worker.modules),
        "routes": ", ".join(
            f"{route.address} ({_kind(route)}, {guarantee_of(module, route)})" for module, route in routes
        ),
        "adapters": ", ".join(_shown(name, adapter) for name, adapter in _adapters(worker).items()),
        "http": worker.http.address if worker.http else "off",
        "took_ms": round(took_s * 1000),
    }
    if note := _note([route for _, route in routes], durable=worker.adapters.bus.capabilities.durable):
        said["note"] = note
    return said


def _note(routes: Sequence[Route], *, durable: bool) -> str:
    if durable or not any(isinstance(route, StreamRoute) for route in routes):
        return ""
    return "stream messages on the memory bus die with this process; jobs are kept in the ledger"


def _adapters(worker: Worker) -> dict[str, Any]:
    return {**worker.adapters.opened, "metrics": worker.metrics, "log": worker.log}


def _shown(name: str, adapter: Any) -> str:
    """An address where there is one: log and metrics have none."""
    return " ".join(filter(None, (f"{name}={type(adapter).__name__}", getattr(adapter, "address", ""))))


def _kind(route: Route) -> Literal["job", "stream"]:
    return "job" if isinstance(route, JobRoute) else "stream"


def _needs(module: Module) -> tuple[str, ...]:
    handlers = [*(route.handler for route in module.routes), *(tool.handler for tool in module.tools)]
    handlers += [route.handler for route in module.http_routes]
    hooks = [*module.startup_hooks, *module.shutdown_hooks]
    asked = [Needs(handler, where=module.name) for handler in handlers]
    asked += [Needs(hook, where=module.name, message=False) for hook in hooks]
    return tuple(sorted({name for needs in asked for name in (*needs.per_process.values(), *needs.per_work.values())}))


def _route(module: Module, route: Route) -> RouteDescriptor:
    guarantee = guarantee_of(module, route)
    own: dict[str, Any]
    if isinstance(route, JobRoute):
        own = {"concurrency": route.concurrency, "unique": route.unique, "unique_skip": route.unique_skip}
    else:
        own = {name: getattr(route, name) for name in _OF_STREAMS}
    return RouteDescriptor(
        address=route.address,
        kind=_kind(route),
        contract=route.contract.__name__,
        guarantee=guarantee,
        promise=PROMISES[guarantee] + (BESIDE if "statements" in needs_of(module, route).adapters else ""),
        retry=route.retry,
        timeout_s=route.timeout_s,
        overrun=route.overrun,
        summary=route.summary,
        **own,
    )


def _argument(name: str, schema: Mapping[str, Any], required: bool) -> Argument:
    chosen, nullable = _without_null(schema)
    return Argument(
        name=name,
        type=_type(chosen),
        required=required,
        nullable=nullable,
        default=schema.get("default"),
        choices=tuple(chosen.get("enum", ())),
        bounds={word: chosen[word] for word in _BOUNDS if word in chosen},
        format=chosen.get("format", ""),
        description=schema.get("description", chosen.get("description", "")),
    )


def _without_null(schema: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    """The schema of the value itself, and whether null is allowed besides."""
    branches = schema.get("anyOf", ())
    kept = [branch for branch in branches if branch.get("type") != "null"]
    if len(kept) == 1:
        return kept[0], len(kept) < len(branches)
    if None in schema.get("enum", ()):
        return {**schema, "enum": [value for value in schema["enum"] if value is not None]}, True
    return schema, len(kept) < len(branches)


def _type(schema: Mapping[str, Any]) -> str:
    if "type" in schema:
        return str(_TYPES.get(schema["type"], schema["type"]))
    kinds = {_type(branch) for branch in schema.get("anyOf", ()) if branch.get("type") != "null"}
    if "enum" in schema:
        kinds = {"integer" if isinstance(value, int) else "string" for value in schema["enum"]}
    return " or ".join(sorted(kinds)) or "any"
