"""A resource in the OpenAPI document. Types are those of the table, once it has been looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.resource import Resource
from modules.api_gateway.negotiation import CSV, JSON, NDJSON
from modules.api_gateway.query import ops_of
from modules.api_gateway.source import Column, Look
from modules.api_gateway.values import TEXT, Type

_OPS = {
    "ne": "another value (a null is none)",
    "gt": "more than this",
    "gte": "this or more",
    "lt": "less than this",
    "lte": "this or less",
    "prefix": "begins with this",
    "null": "`true`: is null; `false`: is not",
}
_UNCHANGED = {"description": "Nothing new: what `If-None-Match` names is what there is."}
_WHOLE = {"type": "integer", "minimum": -(1 << 63), "maximum": (1 << 63) - 1, "format": "int64"}


def listing(resource: Resource, look: Look | None) -> Mapping[str, Mapping[str, Any]]:
    """The operation of a list, by its path."""
    columns, known = _columns(resource, look), look is not None
    return {f"/api/{resource.name}": _list(resource, columns, _row(resource, columns, known=known), known=known)}


def showing(resource: Resource, look: Look | None) -> Mapping[str, Mapping[str, Any]]:
    """The operation of one row, by its path, which has each column of the key."""
    columns, known = _columns(resource, look), look is not None
    key = ",".join(f"{{{name}}}" for name in resource.key)
    return {f"/api/{resource.name}/{key}": _one(resource, columns, _row(resource, columns, known=known), known=known)}


def _columns(resource: Resource, look: Look | None) -> Mapping[str, Column]:
    return look.columns if look else {name: Column(name, TEXT, nullable=True) for name in resource.columns}


def _list(resource: Resource, columns: Mapping[str, Column], row: Any, *, known: bool) -> dict[str, Any]:
    page = {
        "type": "object",
        "properties": {"data": {"type": "array", "items": row}, "next": {"type": ["string", "null"]}},
        "required": ["data", "next"],
    }
    sorts = [sign + name for name in resource.sortable for sign in ("", "-")]
    order = ",".join(resource.order) or "the key"
    parameters = [
        _words("sort", sorts, f"Columns to sort by, with - before those to go down. Unless given: {order}."),
        _words("fields", list(columns), "Only these columns."),
        {
            **_parameter("limit", {"type": "integer", "minimum": 1, "maximum": resource.most_page_rows}),
            "description": f"Rows of a page; {resource.page_rows} unless given.",
        },
        {**_parameter("cursor", {"type": "string"}), "description": "`next` of the page before."},
    ]
    for name in resource.filters:
        parameters += _filters(columns[name], known=known)
    return {
        "summary": f"List {resource.name}.",
        "description": f"{resource.description or f'Rows of {resource.source}.'} As CSV or NDJSON and without a limit,"
        f" all that match come at once, up to {resource.most_rows:,} rows.",
        "operationId": f"list {resource.name}",
        "tags": ["resources"],
        "parameters": [*parameters, _if_none_match()],
        "responses": {
            "200": {
                "description": "A page; the header `Link` has the address of the next one.",
                "content": {JSON: {"schema": page}, CSV: _TEXT, NDJSON: _TEXT},
            },
            "304": _UNCHANGED,
        },
    }


def _one(resource: Resource, columns: Mapping[str, Column], row: Any, *, known: bool) -> dict[str, Any]:
    key = [
        {"name": name, "in": "path", "required": True, "schema": _value(columns[name].type, known=known)}
        for name in resource.key
    ]
    return {
        "summary": f"Show one of {resource.name}.",
        "description": "By its key; a comma in a value is %2C.",
        "operationId": f"show {resource.name}",
        "tags": ["resources"],
        "parameters": [*key, _words("fields", list(columns), "Only these columns."), _if_none_match()],
        "responses": {
            "200": {"description": "The row.", "content": {JSON: {"schema": row}, CSV: _TEXT, NDJSON: _TEXT}},
            "304": _UNCHANGED,
        },
    }


_TEXT = {"schema": {"type": "string"}}


def _row(resource: Resource, columns: Mapping[str, Column], *, known: bool) -> dict[str, Any]:
    return {
        "type": "object",
        "title": resource.name,
        "properties": {name: _shown(column) if known else {} for name, column in columns.items()},
        "additionalProperties": False,
    }


def _shown(column: Column) -> dict[str, Any]:
    kinds: list[Any] = [dict(column.type.schema)]
    if not kinds[0]:
        return {}
    if column.type.endless:
        kinds.append({"enum": list(column.type.endless)})
    if column.nullable:
        kinds.append({"type": "null"})
    return kinds[0] if len(kinds) == 1 else {"anyOf": kinds}


def _filters(column: Column, *, known: bool) -> list[dict[str, Any]]:
    value = _value(column.type, known=known)
    told = {
        **_parameter(column.name, {"type": "array", "items": value}),
        "description": "Has this value, or one of these.",
    }
    found = [told] if ops_of(column.type) else []
    for op in ops_of(column.type)[1:]:
        schema = {"type": "boolean"} if op == "null" else value
        found.append({**_parameter(f"{column.name}.{op}", schema), "description": f"{_OPS[op].capitalize()}."})
    return found


def _value(type_: Type, *, known: bool) -> dict[str, Any]:
    if not known:
        return {"type": "string"}
    return _WHOLE if type_.schema.get("type") == "integer" else dict(type_.schema)


def _words(name: str, allowed: list[str], description: str) -> dict[str, Any]:
    schema = {"type": "array", "items": {"enum": allowed}, "minItems": 1, "uniqueItems": True}
    return {**_parameter(name, schema), "style": "form", "explode": False, "description": description}


def _parameter(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema}


def _if_none_match() -> dict[str, Any]:
    return {
        "name": "If-None-Match",
        "in": "header",
        "required": False,
        "schema": {"type": "string"},
        "description": "ETags of what is there already.",
    }
