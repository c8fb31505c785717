"""What the module declares: for each resource of the catalog a path for its rows, and one for each of them."""

from __future__ import annotations

import asyncio

from contracts.errors import Gathered, MillraceError
from contracts.http import HttpAnswer, HttpRequest
from contracts.module import Module
from contracts.ports import Cache, Catalog, Clock, Db, Log, Metrics
from contracts.resource import Resource, RunApiGateway
from modules.api_gateway.described import listing, showing
from modules.api_gateway.serving import STREAMS, Ports, Serving

LONGEST_S = 300.0
"""For a list, which may be a long answer to a slow reader."""

module = Module(
    "api_gateway",
    kind="service",
    summary="Read tables and views over HTTP: filtered, sorted, by pages, cached, as JSON, CSV or NDJSON.",
    display_name="API gateway",
    arguments=RunApiGateway,
)


@module.from_catalog
def declare(module: Module, catalog: Catalog, arguments: RunApiGateway) -> None:
    """A resource whose declaration is faulty keeps the module from starting, as everything declared does."""
    gathered = Gathered("resources")
    streams = asyncio.Semaphore(STREAMS)
    for name in arguments.resource or catalog.resources():
        with gathered.one():
            _declare(module, catalog.resource(name), streams)
    gathered.tell()


def _declare(module: Module, resource: Resource, streams: asyncio.Semaphore) -> None:
    serving = Serving(resource, streams)
    path, scope = f"/api/{resource.name}", f"read:{resource.name}"

    @module.http(path, scope=scope, timeout_s=LONGEST_S, operations=lambda: listing(resource, serving.source.last))
    async def listed(
        request: HttpRequest, db: Db, cache: Cache, clock: Clock, log: Log, metrics: Metrics
    ) -> HttpAnswer:
        return await serving.listed(request, Ports(db, cache, clock, log, metrics))

    @module.http(path + "/{key}", scope=scope, operations=lambda: showing(resource, serving.source.last))
    async def one(request: HttpRequest, db: Db, cache: Cache, clock: Clock, log: Log, metrics: Metrics) -> HttpAnswer:
        return await serving.one(request, Ports(db, cache, clock, log, metrics))

    @module.on_startup
    async def look(db: Db, clock: Clock, log: Log) -> None:
        """The documents then have its types; a table may as well be loaded later."""
        try:
            await serving.source.now(db, clock)
        except MillraceError as error:
            log.info("a resource can't be read yet", resource=resource.name, why=str(error))
