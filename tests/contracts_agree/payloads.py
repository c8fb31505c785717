"""JSON values for a schema: those that fit, and those that stand at its edges, on either side."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from hypothesis import Phase
from hypothesis import strategies as st

Schema = Mapping[str, Any]

PHASES = tuple(phase for phase in Phase if phase is not Phase.explain)
"""Explaining a failure traces every line, which takes longer than a test may."""

SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    SCALARS | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)

WRONG_TEXTS: Mapping[str, tuple[str, ...]] = {
    "date": ("", "2026-1-5", "20260105", "2026-02-30", "2026-01-05T00:00:00Z", "0000-01-01", " 2026-01-05", "today"),
    "date-time": ("", "2026-01-05", "2026-01-05T10:00:00", "2026-01-05T25:00:00Z", "2026-01-05T10:00Z", "1767607200"),
    "uuid": ("", "b3b1d1d2", "g3b1d1d2-7c2c-4f2e-8f3e-1d2c3b4a5f6e", "b3b1d1d2-7c2c-4f2e-8f3e-1d2c3b4a5f6e0"),
}


def fitting(schema: Schema) -> st.SearchStrategy[Any]:
    """Values that the schema accepts. Raises `NotImplementedError` for a keyword that it doesn't know."""
    if "anyOf" in schema:
        return st.one_of([fitting(branch) for branch in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "const" in schema:
        return st.just(schema["const"])
    match schema.get("type"):
        case None if "$ref" not in schema:
            return ANYTHING
        case "null":
            return st.none()
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(schema.get("minimum"), schema.get("maximum"))
        case "number":
            return _numbers(schema)
        case "string":
            return _texts(schema)
        case "array":
            return _arrays(schema)
        case "object":
            return _objects(schema)
    raise NotImplementedError(f"no values are known for {schema}")


def edges(schema: Schema) -> list[Any]:
    """The values around each bound of a schema, its wrong texts, and one value of every other kind."""
    if "anyOf" in schema:
        return [edge for branch in schema["anyOf"] for edge in edges(branch)]
    found: list[Any] = [None, True, 0, 1, -1, 0.5, 1.0, 1e300, 2**63, -(2**63) - 1, "", "1", [], [[]], {}, {"a": {}}]
    found += schema.get("enum", [])
    for name in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
        if name in schema:
            found += [schema[name] - 1, schema[name], schema[name] + 1]
    match schema.get("type"):
        case "string":
            bounds = [schema[name] for name in ("minLength", "maxLength") if name in schema]
            lengths = {max(0, bound + step) for bound in bounds for step in (-1, 0, 1)}
            found += ["é", "\x00", "a\n", "🜁", *("🜁" * length for length in lengths)]
            found += WRONG_TEXTS.get(schema.get("format", ""), ())
        case "array":
            found += [[edge] for edge in edges(schema.get("items") or {})]
    return found


def edgy(schema: Schema) -> st.SearchStrategy[Any]:
    """Values at the edges of the schema: many fit, many just don't."""
    around = [fitting(schema), ANYTHING, st.sampled_from(edges(schema))]
    if schema.get("type") == "object":
        around += [_nearly(schema), _nearly(schema)]
    return st.one_of(around)


def _numbers(schema: Schema) -> st.SearchStrategy[float]:
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    return st.floats(
        low,
        high,
        allow_nan=False,
        allow_infinity=False,
        exclude_min="exclusiveMinimum" in schema,
        exclude_max="exclusiveMaximum" in schema,
    )


def _texts(schema: Schema) -> st.SearchStrategy[str]:
    match schema.get("format"):
        case "date":
            return st.dates().map(str)
        case "date-time":
            return st.datetimes(timezones=st.timezones()).map(_rfc3339)
        case "uuid":
            return st.uuids().map(str)
        case None:
            pass
        case other:
            raise NotImplementedError(f"no texts are known for the format {other!r}")
    if schema.get("contentEncoding") == "base64":
        return st.binary().map(lambda data: base64.b64encode(data).decode())
    if "pattern" in schema:
        return st.from_regex(str(schema["pattern"]), alphabet=st.characters(codec="utf-8"))
    return st.text(min_size=schema.get("minLength", 0), max_size=schema.get("maxLength"))


def _rfc3339(instant: Any) -> str:
    """An offset of seconds, as time zones had before 1900, can't be written down."""
    whole = instant.utcoffset().total_seconds() % 60 == 0
    text: str = (instant if whole else instant.replace(tzinfo=None)).isoformat()
    return text if whole else text + "Z"


def _arrays(schema: Schema) -> st.SearchStrategy[Any]:
    if "prefixItems" in schema:
        return st.tuples(*map(fitting, schema["prefixItems"])).map(list)
    unique: dict[str, Any] = {"unique_by": repr} if schema.get("uniqueItems") else {}
    return st.lists(
        fitting(schema.get("items", {})),
        min_size=schema.get("minItems", 0),
        max_size=min(schema.get("maxItems", 5), 5),
        **unique,
    )


def _objects(schema: Schema) -> st.SearchStrategy[dict[str, Any]]:
    properties: Schema = schema.get("properties", {})
    required = schema.get("required", ())
    fixed = st.fixed_dictionaries(
        {name: fitting(properties[name]) for name in required},
        optional={name: fitting(field) for name, field in properties.items() if name not in required},
    )
    more = schema.get("additionalProperties")
    if not isinstance(more, Mapping):
        return fixed
    others = st.dictionaries(st.text(max_size=5).filter(lambda name: name not in properties), fitting(more), max_size=3)
    return st.builds(lambda known, other: {**other, **known}, fixed, others)


def _nearly(schema: Schema) -> st.SearchStrategy[dict[str, Any]]:
    """An object that fits, with one field changed, taken away or added."""
    properties: Schema = schema.get("properties", {})
    names = st.sampled_from(sorted(properties)) if properties else st.text(max_size=5)

    @st.composite
    def changed(draw: st.DrawFn) -> dict[str, Any]:
        value = dict(draw(_objects(schema)))
        name = draw(names)
        match draw(st.sampled_from(["change", "take away", "add"])):
            case "change":
                value[name] = draw(edgy(properties.get(name, {})))
            case "take away":
                value.pop(name, None)
            case _:
                value[draw(st.text(max_size=5) | names.map(str.upper))] = draw(ANYTHING)
        return value

    return changed()
