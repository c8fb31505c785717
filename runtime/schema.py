"""JSON Schemas of messages, derived from their Structs (draft 2020-12)."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping
from typing import Any

import msgspec

_TELLING = frozenset({"description", "title", "examples"})
_PREFIX = "#/$defs/"
# What holds schemas by a name that isn't a keyword, and what holds plain data.
_NAMED = frozenset({"properties", "patternProperties", "dependentSchemas"})
_DATA = frozenset({"default", "const", "enum", "examples", "required"})


def schema_of(contract: type[msgspec.Struct]) -> dict[str, Any]:
    """The schema of one contract, whole: it can be embedded anywhere (AsyncAPI, OpenAPI, a file). The caller owns it.

    What a contract refers to is written out in place; only a type that contains itself is kept under `$defs`.
    """
    [root], components = msgspec.json.schema_components([contract], ref_template=_PREFIX + "{name}")
    writer = _Inliner(components)
    schema: dict[str, Any] = writer.write(root, ())
    if writer.recursive:
        schema["$defs"] = writer.definitions()
    return schema


def fingerprint_of(contract: type[msgspec.Struct]) -> str:
    """The same for contracts that take the same, whatever they say for people."""
    bare = msgspec.json.encode(_without_words(schema_of(contract)), order="sorted")
    return hashlib.sha256(bare).hexdigest()[:16]


def _without_words(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_words(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: {name: _without_words(schema) for name, schema in value.items()}
        if key in _NAMED and isinstance(value, dict)
        else _without_words(value)
        for key, value in node.items()
        if key not in _TELLING
    }


class _Inliner:
    def __init__(self, components: Mapping[str, Any]) -> None:
        self._components = components
        self.recursive: set[str] = set()

    def write(self, node: Any, inside: tuple[str, ...]) -> Any:
        if isinstance(node, list):
            return [self.write(item, inside) for item in node]
        if not isinstance(node, dict):
            return node
        if reference := node.get("$ref"):
            return self._written_out(node, reference.removeprefix(_PREFIX), inside)
        return {key: self._value(key, value, inside) for key, value in node.items() if not _points_away(key, value)}

    def definitions(self) -> dict[str, Any]:
        """The types that contain themselves; writing one can find others."""
        done: dict[str, Any] = {}
        while open_ := sorted(self.recursive - done.keys()):
            for name in open_:
                done[name] = self.write(self._components[name], (name,))
        return done

    def _written_out(self, node: Mapping[str, Any], name: str, inside: tuple[str, ...]) -> Any:
        if name in inside or name in self.recursive:
            self.recursive.add(name)
            return dict(node)
        beside = {key: value for key, value in node.items() if key != "$ref"}
        return {**self.write(self._components[name], (*inside, name)), **beside}

    def _value(self, key: str, value: Any, inside: tuple[str, ...]) -> Any:
        if key in _NAMED:
            return {name: self.write(schema, inside) for name, schema in value.items()}
        if key == "description" and isinstance(value, str):
            return inspect.cleandoc(value)
        return _copied(value) if key in _DATA else self.write(value, inside)


def _points_away(key: str, value: Any) -> bool:
    """A tagged union's `discriminator` maps tags to `$defs` that are written out; its tags are checked without it."""
    return key == "discriminator" and isinstance(value, dict)


def _copied(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))
