"""The OpenAPI document: Litestar's of our handlers, with a path for each address that the modules take."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from contracts.http import HttpRoute
from contracts.module import JobRoute, Module, Route
from runtime.descriptor import PROMISES, guarantee_of
from runtime.http.problem import PROBLEM, Problem
from runtime.http.scopes import COMMAND, LINK, PUBLIC, needed
from runtime.schema import schema_of

TEMPLATE = "/commands/{address}"
_TYPED = re.compile(r"\{(\w+):\w+\}")
_BEARER = "An API key, or the worker's token. On the worker's own machine none is needed until there is one."
_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": _BEARER},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key."},
}
_PROBLEM = {
    "description": "Why not: `detail` is one line, `faults` has a line for each thing that is wrong.",
    "content": {PROBLEM: {"schema": schema_of(Problem)}},
}


def document(handlers: Sequence[Any], routes: Iterable[tuple[Module, Route]], *, version: str) -> dict[str, Any]:
    """OpenAPI 3.1 as plain data; `x-scope` of an operation is the scope that it needs."""
    from litestar import Litestar
    from litestar.openapi import OpenAPIConfig

    config = OpenAPIConfig(
        title="Millrace", version=version, description="A worker's HTTP.", use_handler_docstrings=True
    )
    # An application of its own: the one that serves has no routes of Litestar's, whose pages load scripts from afar.
    made: dict[str, Any] = Litestar(handlers, openapi_config=config, logging_config=None).openapi_schema.to_schema()
    paths: dict[str, Any] = made["paths"]
    for handler in handlers:
        for path, method in itertools.product(handler.paths, handler.http_methods):
            paths[_TYPED.sub(r"{\1}", path)][method.lower()]["x-scope"] = handler.opt["scope"]
    generic = paths.pop(TEMPLATE)
    for module, route in sorted(routes, key=lambda one: one[1].address):
        paths[f"/commands/{route.address}"] = _of_route(generic, module, route)
    for item in paths.values():
        for operation in item.values():
            operation["responses"].pop("400", None)
            operation["responses"]["default"] = _PROBLEM
            if operation["x-scope"] in (PUBLIC, LINK):
                operation["security"] = []
    made.setdefault("components", {})["securitySchemes"] = _SCHEMES
    made["security"] = [{name: []} for name in _SCHEMES]
    return made


def with_paths(document: Mapping[str, Any], routes: Iterable[HttpRoute]) -> dict[str, Any]:
    """The document with what modules answer themselves."""
    own = {
        path: {"get": {"x-scope": route.scope, **operation, "responses": _responses(operation)}}
        for route in routes
        for path, operation in route.operations().items()
    }
    return {**document, "paths": {**document["paths"], **own}}


def _responses(operation: Mapping[str, Any]) -> dict[str, Any]:
    told = operation.get("responses") or {"200": {"description": "The answer."}}
    return {**told, "default": _PROBLEM}


def _of_route(generic: dict[str, Any], module: Module, route: Route) -> dict[str, Any]:
    item: dict[str, Any] = copy.deepcopy(generic)
    operation = item["post"]
    operation["summary"] = route.summary or f"Post a {route.contract.__name__}."
    promise = PROMISES[guarantee_of(module, route)].capitalize()
    operation["description"] = f"{promise}. {operation.get('description', '')}".strip()
    operation["operationId"] = "post " + route.address
    operation["x-scope"] = needed(COMMAND, {"address": route.address})
    operation["parameters"] = [
        parameter for parameter in operation.get("parameters", ()) if _applies(parameter, isinstance(route, JobRoute))
    ]
    operation["requestBody"] = {
        "required": True,
        "content": {"application/json": {"schema": schema_of(route.contract)}},
    }
    return item


def _applies(parameter: dict[str, Any], job: bool) -> bool:
    if parameter["in"] == "path":
        return False
    return job or parameter["name"] != "priority"
