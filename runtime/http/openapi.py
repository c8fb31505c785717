"""The OpenAPI document: Litestar's of our handlers, with a path for each address that the modules take."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

from contracts.module import JobRoute, Module, Route
from runtime.descriptor import PROMISES, guarantee_of
from runtime.schema import schema_of

TEMPLATE = "/commands/{address}"
_PROBLEM = {
    "description": "Why not: `error` is one line, `faults` has a line for each thing that is wrong.",
    "content": {
        "application/json": {
            "schema": {
                "title": "Problem",
                "type": "object",
                "properties": {
                    "error": {"type": "string"},
                    "faults": {"type": "array", "items": {"type": "string"}},
                },
                "required": ["error", "faults"],
            }
        }
    },
}


def document(
    handlers: Sequence[Any], routes: Iterable[tuple[Module, Route]], *, version: str, needs_token: bool
) -> dict[str, Any]:
    """OpenAPI 3.1 as plain data."""
    from litestar import Litestar
    from litestar.openapi import OpenAPIConfig

    config = OpenAPIConfig(
        title="Millrace", version=version, description="A worker's HTTP.", use_handler_docstrings=True
    )
    # An application of its own: the one that serves has no routes of Litestar's, whose pages load scripts from afar.
    made: dict[str, Any] = Litestar(handlers, openapi_config=config, logging_config=None).openapi_schema.to_schema()
    paths: dict[str, Any] = made["paths"]
    generic = paths.pop(TEMPLATE)
    for module, route in sorted(routes, key=lambda one: one[1].address):
        paths[f"/commands/{route.address}"] = _of_route(generic, module, route)
    for item in paths.values():
        for operation in item.values():
            operation["responses"].pop("400", None)
            operation["responses"]["default"] = _PROBLEM
    if needs_token:
        made.setdefault("components", {})["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        made["security"] = [{"token": []}]
    return made


def _of_route(generic: dict[str, Any], module: Module, route: Route) -> dict[str, Any]:
    item: dict[str, Any] = copy.deepcopy(generic)
    operation = item["post"]
    operation["summary"] = route.summary or f"Post a {route.contract.__name__}."
    promise = PROMISES[guarantee_of(module, route)].capitalize()
    operation["description"] = f"{promise}. {operation.get('description', '')}".strip()
    operation["operationId"] = "post " + route.address
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
