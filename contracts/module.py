"""How a module declares itself: its routes, hooks and what they promise.

    module = Module("batch_etl", kind="job", summary="Load files into tables.")

    @module.job("run.batch_etl", RunBatchEtl, retry=Retry(attempts=5), timeout_s=3600)
    async def run(cmd: RunBatchEtl, job: Job, db: Db, files: Files) -> BatchEtlReport: ...

A decorator returns the plain function, so a unit test calls it with fakes. Declaring does nothing else: the
runtime reads the declaration, resolves what the handlers ask for, and mounts them on the bus.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from contracts.flag import Flag, T
from contracts.http import Handler as HttpHandler
from contracts.http import HttpRoute

if TYPE_CHECKING:
    from contracts.ports.catalog import Catalog  # which needs this file

Kind = Literal["service", "job", "worker"]
Expired = Literal["earliest", "latest", "fail"]
Overrun = Literal["checkpoint", "cancel", "requeue"]
Handler = TypeVar("Handler", bound=Callable[..., Any])
"""`async def`, or a plain `def` that may block: it runs in a thread, with the ports that need no awaiting."""
ToolHandler = TypeVar("ToolHandler", bound=Callable[..., Awaitable[Any]])
Answers = TypeVar("Answers", bound=HttpHandler)
Routes = TypeVar("Routes", bound=Callable[..., None])
Hook = TypeVar("Hook", bound=Callable[..., Awaitable[None]])

_ADDRESS = re.compile(r"[a-z][a-z0-9_-]*(\.[a-z0-9_-]+)*")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_PATH = re.compile(r"(/[a-z0-9_.-]+)+(/\{[a-z_]+\})?")


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """Capped exponential back-off with jitter: before attempt n+1 at most `min(max_s, first_s * factor ** (n - 1))`."""

    attempts: int = 5
    first_s: float = 1.0
    factor: float = 2.0
    max_s: float = 300.0


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch is handed over when it has `rows` messages, or `wait_s` after its first one. It has at most `bytes` of
    bodies, unless a single message is larger."""

    rows: int = 1000
    wait_s: float = 0.5
    bytes: int = 32 << 20


class JobRoute(msgspec.Struct, frozen=True, kw_only=True):
    """A command that starts a job. `concurrency` bounds its runs per worker.

    `unique` names fields of the command whose values make the unique key. `overrun` says what becomes of a run
    that outlives the drain deadline: `checkpoint` asks it to stop and resumes it from its checkpoint elsewhere,
    `requeue` cancels it and runs it again elsewhere, `cancel` ends it for good. A run that says nothing for `stall_s`
    (no progress, no checkpoint, nothing that it awaited came back) is reported with its stack, and cut as a failure.
    """

    address: str
    contract: type[msgspec.Struct]
    handler: Callable[..., Any]
    retry: Retry
    timeout_s: float
    concurrency: int
    overrun: Overrun
    unique: tuple[str, ...] = ()
    unique_skip: bool = False
    stall_s: float | None = None
    summary: str = ""


class StreamRoute(msgspec.Struct, frozen=True, kw_only=True):
    """A stream of small messages. `key` names the field that orders (else the message's own key). With `raw` the
    handler is given `bytes`, and decodes them itself: it has a use for what doesn't decode. With `tick_s` the handler
    of batches is called with an empty one where nothing came on a partition for so long. `expired` says what to do
    where messages were deleted before they were handled: go on with the earliest that is left, with the latest, or stop
    that partition until someone has decided.

    `lanes` bounds the handlers that run side by side; `partitions` and `retention_s` are what the address is created
    with. A message whose retries take longer than `in_lane_s` in all is parked, so that its partition moves on. With
    `dedupe_s` an id that was handled within that time is not handled again, wherever it comes from.
    """

    address: str
    contract: type[msgspec.Struct]
    handler: Callable[..., Any]
    retry: Retry
    timeout_s: float
    lanes: int
    partitions: int
    overrun: Overrun
    key: str | None = None
    batch: Batch | None = None
    group: str = ""
    dedupe_s: float = 0.0
    in_lane_s: float = 5.0
    retention_s: float = 7 * 86400.0
    stall_s: float | None = None
    raw: bool = False
    tick_s: float | None = None
    expired: Expired = "earliest"
    summary: str = ""

    @property
    def message(self) -> type[Any]:
        """What the handler is given of one message."""
        return bytes if self.raw else self.contract


Route = JobRoute | StreamRoute


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A command of the module's own, such as `datasets check`: run at once in the caller's process, by the
    command line, with its adapters injected. `contract` gives its arguments; what it returns is printed."""

    name: str
    contract: type[msgspec.Struct]
    handler: Callable[..., Awaitable[Any]]
    summary: str


class Module:
    """A set of handlers with a name; import it nowhere but in its own package."""

    def __init__(
        self,
        name: str,
        *,
        kind: Kind,
        summary: str,
        display_name: str = "",
        version: str = "1.0.0",
        arguments: type[msgspec.Struct] | None = None,
        examples: str = "",
    ) -> None:
        if not _NAME.fullmatch(name):
            raise ValueError(f"module name {name!r}: use lower case letters, digits and _, starting with a letter")
        self.name = name
        self.kind = kind
        self.summary = summary
        self.display_name = display_name or name.replace("_", " ").capitalize()
        self.version = version
        self.arguments = arguments
        """Of a module that runs until it is stopped; each has a default, with which it serves all that is declared."""
        self.examples = examples
        """Command lines that run it, for `--help`; without any, one is made of what is required."""
        self.routes: list[Route] = []
        self.tools: list[Tool] = []
        self.http_routes: list[HttpRoute] = []
        self.flags: list[Flag[Any]] = []
        self.startup_hooks: list[Callable[..., Awaitable[None]]] = []
        self.shutdown_hooks: list[Callable[..., Awaitable[None]]] = []
        self._declares: Callable[..., None] | None = None

    def job(
        self,
        address: str,
        contract: type[msgspec.Struct],
        *,
        retry: Retry | None = None,
        timeout_s: float = 3600.0,
        concurrency: int = 4,
        overrun: Overrun = "checkpoint",
        unique: tuple[str, ...] = (),
        unique_skip: bool = False,
        stall_s: float | None = None,
    ) -> Callable[[Handler], Handler]:
        """Run the function as a job for each command at `address`."""

        def declare(handler: Handler) -> Handler:
            self._add(
                JobRoute(
                    address=address,
                    contract=contract,
                    handler=handler,
                    retry=retry or Retry(),
                    timeout_s=timeout_s,
                    concurrency=concurrency,
                    overrun=overrun,
                    unique=unique,
                    unique_skip=unique_skip,
                    stall_s=stall_s,
                    summary=_first_line(handler),
                )
            )
            return handler

        return declare

    def stream(
        self,
        address: str,
        contract: type[msgspec.Struct],
        *,
        key: str | None = None,
        batch: Batch | None = None,
        retry: Retry | None = None,
        timeout_s: float = 30.0,
        lanes: int = 64,
        partitions: int = 8,
        overrun: Overrun = "requeue",
        group: str = "",
        dedupe_s: float = 0.0,
        in_lane_s: float = 5.0,
        retention_s: float = 7 * 86400.0,
        stall_s: float | None = None,
        raw: bool = False,
        tick_s: float | None = None,
        expired: Expired = "earliest",
    ) -> Callable[[Handler], Handler]:
        """Run the function for each message at `address`, or for each batch of them."""

        def declare(handler: Handler) -> Handler:
            self._add(
                StreamRoute(
                    address=address,
                    contract=contract,
                    handler=handler,
                    retry=retry or Retry(),
                    timeout_s=timeout_s,
                    lanes=lanes,
                    partitions=partitions,
                    overrun=overrun,
                    key=key,
                    batch=batch,
                    group=group or self.name,
                    dedupe_s=dedupe_s,
                    in_lane_s=in_lane_s,
                    retention_s=retention_s,
                    stall_s=stall_s,
                    raw=raw,
                    tick_s=tick_s,
                    expired=expired,
                    summary=_first_line(handler),
                )
            )
            return handler

        return declare

    def from_catalog(self, declare: Routes) -> Routes:
        """The function declares routes of what users have declared: `declare(module, catalog, arguments)`. It is called
        at each start, with a copy of the module that has the routes declared here as well."""
        self._declares = declare
        return declare

    def configured(self, catalog: Catalog, arguments: msgspec.Struct | None = None) -> Module:
        """This module with the routes of the catalog; itself where it takes none from there. Raises what is wrong with
        a declaration, `Faults` or `NotFound`."""
        if self._declares is None:
            return self
        made = Module(
            self.name,
            kind=self.kind,
            summary=self.summary,
            display_name=self.display_name,
            version=self.version,
            arguments=self.arguments,
            examples=self.examples,
        )
        made.routes, made.tools, made.flags = list(self.routes), list(self.tools), list(self.flags)
        made.http_routes = list(self.http_routes)
        made.startup_hooks, made.shutdown_hooks = list(self.startup_hooks), list(self.shutdown_hooks)
        self._declares(made, catalog, arguments or (self.arguments() if self.arguments else None))
        return made

    def tool(self, name: str, contract: type[msgspec.Struct]) -> Callable[[ToolHandler], ToolHandler]:
        """Offer the function as `millrace NAME` (one or two words)."""

        def declare(handler: ToolHandler) -> ToolHandler:
            self.tools.append(Tool(name=name, contract=contract, handler=handler, summary=_first_line(handler)))
            return handler

        return declare

    def http(
        self,
        path: str,
        *,
        scope: str,
        timeout_s: float = 30.0,
        operations: Callable[[], Mapping[str, Mapping[str, Any]]] | None = None,
    ) -> Callable[[Answers], Answers]:
        """Answer `GET path` by the function, whose first parameter is an `HttpRequest`; adapters are injected by
        annotation. Its docstring describes it in the OpenAPI document, unless `operations` does, by path."""
        if not _PATH.fullmatch(path):
            raise ValueError(f"path {path!r}: use parts of a-z, 0-9, _, . and -, and {{name}} for the last one only")
        if any(known.path == path for known in self.http_routes):
            raise ValueError(f"module {self.name} declares {path} twice")

        def declare(handler: Answers) -> Answers:
            described = operations or (lambda: {path: {"summary": _first_line(handler)}})
            self.http_routes.append(
                HttpRoute(path=path, handler=handler, scope=scope, timeout_s=timeout_s, operations=described)
            )
            return handler

        return declare

    def flag(self, name: str, default: T, summary: str) -> Flag[T]:
        """A switch that operators turn while the module runs; ask `Flags` for how it stands."""
        if not _NAME.fullmatch(name):
            raise ValueError(f"flag {name!r}: use lower case letters, digits and _, starting with a letter")
        flag = Flag(name=f"{self.name}.{name}", default=default, help=summary)
        if any(known.name == flag.name for known in self.flags):
            raise ValueError(f"module {self.name} declares the flag {name} twice")
        self.flags.append(flag)
        return flag

    def on_startup(self, hook: Hook) -> Hook:
        """Run before the first message is taken; adapters are injected by annotation."""
        self.startup_hooks.append(hook)
        return hook

    def on_shutdown(self, hook: Hook) -> Hook:
        """Run while draining, after the last handler, in reverse order of registration."""
        self.shutdown_hooks.append(hook)
        return hook

    def _add(self, route: Route) -> None:
        if not _ADDRESS.fullmatch(route.address):
            raise ValueError(f"address {route.address!r}: use words of a-z, 0-9, _ and - joined by dots")
        if any((known.address, _group(known)) == (route.address, _group(route)) for known in self.routes):
            raise ValueError(f"module {self.name} declares {route.address} twice")
        self.routes.append(route)

    def __repr__(self) -> str:
        return f"Module({self.name!r}, {', '.join(route.address for route in self.routes)})"


def _group(route: Route) -> str:
    return route.group if isinstance(route, StreamRoute) else ""


def _first_line(handler: Callable[..., Any]) -> str:
    return (handler.__doc__ or "").strip().partition("\n")[0]
