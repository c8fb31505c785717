"""Reading a message, and saying everything that is wrong with one that does not fit."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from contracts.errors import BadInput

T = TypeVar("T", bound=msgspec.Struct)

_GOT = re.compile(r", got `\w+`")

Fault = tuple[str, str]
"""The field that it is about (empty: the whole), and what is wrong with it."""


def from_mapping(contract: type[T], given: Mapping[str, Any], *, strict: bool = True) -> T:
    """`given` as a `contract`; raises `BadInput` with every fault. Not `strict`: text is read as the type it stands
    for, as the command line needs."""
    try:
        return msgspec.convert(given, contract, strict=strict)
    except msgspec.ValidationError as error:
        raise BadInput(faults_of(contract, given, strict=strict) or [str(error)]) from None


def faults_of(contract: type[msgspec.Struct], given: Any, *, strict: bool = True) -> list[str]:
    """Every fault, a line each: what came, what is allowed."""
    return [f"{field}: {fault}" if field else fault for field, fault in field_faults(contract, given, strict=strict)]


def field_faults(contract: type[msgspec.Struct], given: Any, *, strict: bool = True) -> list[Fault]:
    """Every fault with the field that it is about. msgspec stops at the first, so each field is tried alone."""
    if not isinstance(given, Mapping):
        return [("", f"expected a JSON object with the fields of {contract.__name__}, got {_kind(given)}")]
    fields = {field.encode_name: field for field in msgspec.structs.fields(contract)}
    faults: list[Fault] = []
    for name, field in fields.items():
        if name not in given:
            if field.required:
                faults.append((name, f"missing; it is required ({allowed(field.type)})"))
            continue
        try:
            msgspec.convert(given[name], field.type, strict=strict)
        except msgspec.ValidationError as error:
            # What was given is shown: of which type text was before it was read says nothing.
            said = str(error) if strict else _GOT.sub("", str(error))
            faults.append((name, f"{said}{_choices(field.type)}; got {_shown(given[name])}"))
    if contract.__struct_config__.forbid_unknown_fields:
        faults += [(str(name), f"no such field; {_nearest(str(name), fields)}") for name in given if name not in fields]
    return faults


def allowed(type_: Any) -> str:
    """What a field takes, in few words."""
    if choices := choices_of(type_):
        return "one of " + ", ".join(choices)
    schema = msgspec.json.schema(type_)
    return str(schema.get("format") or schema.get("type") or "see --help")


def choices_of(type_: Any) -> list[str]:
    """The values that a field, or each item of it, can have; empty where they are not listed."""
    schema = msgspec.json.schema(type_)
    definitions = schema.get("$defs", {})

    def within(node: Mapping[str, Any]) -> list[Any]:
        if reference := node.get("$ref"):
            return within(definitions[reference.rpartition("/")[2]])
        branches = [*node.get("anyOf", ()), *([node["items"]] if isinstance(node.get("items"), Mapping) else [])]
        return [*node.get("enum", ()), *(value for branch in branches for value in within(branch))]

    return [str(value) for value in within(schema) if value is not None]


def _choices(type_: Any) -> str:
    choices = choices_of(type_)
    return f"; it can be {', '.join(choices)}" if choices else ""


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _kind(value: Any) -> str:
    return {type(None): "null", list: "an array", str: "a string"}.get(type(value), f"a {type(value).__name__}")
