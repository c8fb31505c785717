from __future__ import annotations

from typing import Any

import msgspec

from adapters.bus.payload import payload_schema


class Line(msgspec.Struct):
    sku: str


class Order(msgspec.Struct):
    lines: list[Line]


class Tree(msgspec.Struct):
    left: Tree | None = None


def test_the_root_is_lifted_and_definitions_stay_beside_it() -> None:
    known: dict[str, Any] = {}
    payload = payload_schema(msgspec.json.schema(Order), "orders", known)
    assert payload["title"] == "Order"
    assert payload["properties"] == {"lines": {"type": "array", "items": {"$ref": "#/$defs/Line"}}}
    assert set(payload["$defs"]) == {"Line"}
    assert set(known) == {"Order", "Line"}


def test_what_refers_to_itself_can_be_resolved() -> None:
    payload = payload_schema(msgspec.json.schema(Tree), "trees", {})
    assert {"$ref": "#/$defs/Tree"} in payload["properties"]["left"]["anyOf"]
    assert {"$ref": "#/$defs/Tree"} in payload["$defs"]["Tree"]["properties"]["left"]["anyOf"]


def test_the_same_contract_twice_is_one_schema() -> None:
    known: dict[str, Any] = {}
    schema = msgspec.json.schema(Order)
    assert payload_schema(schema, "orders", known) == payload_schema(schema, "orders.again", known)
    assert set(known) == {"Order", "Line"}


def test_different_contracts_of_one_name_are_told_apart() -> None:
    known: dict[str, Any] = {}
    payload_schema(msgspec.json.schema(Order), "orders", known)
    other = msgspec.defstruct("Line", [("text", str)])
    page = payload_schema(msgspec.json.schema(msgspec.defstruct("Page", [("line", other)])), "pages", known)
    assert page["properties"]["line"] == {"$ref": "#/$defs/Line-pages"}
    assert page["$defs"]["Line-pages"]["properties"] == {"text": {"type": "string"}}
    root = payload_schema(msgspec.json.schema(other), "lines", known)
    assert root["title"] == "Line-lines"


def test_a_schema_without_a_name_is_named_after_its_address() -> None:
    payload = payload_schema({"type": "string"}, "notes", {})
    assert payload == {"type": "string", "title": "notes:Payload"}
    assert payload_schema({}, "anything", {}) == {"title": "anything:Payload"}


def test_what_is_given_is_left_alone() -> None:
    schema = msgspec.json.schema(Order)
    before = msgspec.json.encode(schema)
    payload_schema(schema, "orders", {"Line": {"type": "null"}})
    assert msgspec.json.encode(schema) == before
