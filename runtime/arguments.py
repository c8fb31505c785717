"""Reading a message, and saying everything that is wrong with one that does not fit."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from contracts.errors import BadInput

T = TypeVar("T", bound=msgspec.Struct)


def from_mapping(contract: type[T], given: Mapping[str, Any], *, strict: bool = True) -> T:
    """`given` as a `contract`; raises `BadInput` with every fault. Not `strict`: text is read as the type it stands
    for, as the command line needs."""
    try:
        return msgspec.convert(given, contract, strict=strict)
    except msgspec.ValidationError as error:
        raise BadInput(faults_of(contract, given, strict=strict) or [str(error)]) from None


def faults_of(contract: type[msgspec.Struct], given: Any, *, strict: bool = True) -> list[str]:
    """Every fault, a line each: what came, what is allowed. msgspec stops at the first: each is tried alone."""
    if not isinstance(given, Mapping):
        return [f"expected a JSON object with the fields of {contract.__name__}, got {_kind(given)}"]
    fields = {field.encode_name: field for field in msgspec.structs.fields(contract)}
    faults = []
    for name, field in fields.items():
        if name not in given:
            if field.required:
                faults.append(f"{name}: missing; it is required ({_allowed(field.type)})")
            continue
        try:
            msgspec.convert(given[name], field.type, strict=strict)
        except msgspec.ValidationError as error:
            faults.append(f"{name}: {error}; got {_shown(given[name])}")
    if contract.__struct_config__.forbid_unknown_fields:
        for name in given:
            if name not in fields:
                near = difflib.get_close_matches(str(name), fields, n=1)
                hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(fields)}"
                faults.append(f"{name}: no such field; {hint}")
    return faults


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _kind(value: Any) -> str:
    return {type(None): "null", list: "an array", str: "a string"}.get(type(value), f"a {type(value).__name__}")


def _allowed(type_: Any) -> str:
    schema = msgspec.json.schema(type_)
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    return str(schema.get("format") or schema.get("type") or "see --help")
