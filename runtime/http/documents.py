"""OpenAPI and AsyncAPI of this worker, each made when first asked for and kept."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from runtime import asyncapi
from runtime.http import openapi
from runtime.version import version

if TYPE_CHECKING:
    from runtime.worker import Worker


class Documents:
    """Neither changes while the process runs, as modules are mounted before it starts; but for what modules tell of
    their own paths, such as the types of a table's columns, which is asked for each time."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._openapi: dict[str, Any] | None = None
        self._asyncapi: dict[str, Any] | None = None

    async def openapi(self) -> dict[str, Any]:
        if self._openapi is None:
            # A quarter of a second of Litestar's imports and reflection: not on the loop that runs the jobs.
            self._openapi = await asyncio.to_thread(self._make_openapi)
        own = [route for module in self._worker.modules for route in module.http_routes]
        return openapi.with_paths(self._openapi, own)

    async def asyncapi(self) -> dict[str, Any]:
        if self._asyncapi is None:
            self._asyncapi = await asyncio.to_thread(self._make_asyncapi)
        return self._asyncapi

    def _make_openapi(self) -> dict[str, Any]:
        from runtime.http.application import HANDLERS

        routes = [(mounted.module, mounted.route) for mounted in self._worker.mounted.values()]
        return openapi.document(HANDLERS, routes, version=version())

    def _make_asyncapi(self) -> dict[str, Any]:
        made = asyncapi.specification(self._worker.adapters.bus.broker)
        document: dict[str, Any] = made.to_specification().to_jsonable()
        return document
