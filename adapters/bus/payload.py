"""A route's JSON Schema as FastStream's AsyncAPI generator wants it."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

REF = "#/$defs/"


def payload_schema(
    schema: Mapping[str, Any], address: str, known: MutableMapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """The payload with a `title` to be filed under, and `$defs` beside it.

    AsyncAPI files all schemas of an application under their names. `known` holds those filed so far and is added to:
    a different schema of the same name is filed as `name-address`, so that no route shows another's.
    """
    definitions: dict[str, Any] = dict(schema.get("$defs", {}))
    body = {name: value for name, value in schema.items() if name != "$defs"}
    root = body["$ref"].removeprefix(REF) if set(body) == {"$ref"} else str(body.get("title", f"{address}:Payload"))
    if set(body) != {"$ref"}:
        definitions[root] = body
    names = {
        name: name if known.setdefault(name, definition) == definition else f"{name}-{address}"
        for name, definition in definitions.items()
    }
    filed = {names[name]: _renamed(definition, names) for name, definition in definitions.items()}
    payload = {**filed.pop(names[root]), "title": names[root]}
    if _mentions(filed, names[root]) or _mentions(payload, names[root]):
        filed[names[root]] = payload
    return {**payload, "$defs": filed} if filed else payload


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """A deep copy with the references following the names."""
    if isinstance(value, Mapping):
        return {key: _renamed(item, names) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_renamed(item, names) for item in value]
    if isinstance(value, str) and value.startswith(REF):
        name = value.removeprefix(REF)
        return REF + names.get(name, name)
    return value


def _mentions(value: Any, name: str) -> bool:
    if isinstance(value, Mapping):
        return any(_mentions(item, name) for item in value.values())
    if isinstance(value, list):
        return any(_mentions(item, name) for item in value)
    return bool(value == REF + name)
