"""`contracts/enrichment.py`: what a declaration says against itself, and against its event."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from contracts.dataset import Column
from contracts.enrichment import Added, Enrichment, Lookup
from contracts.event import Event

ORDER = Event(
    name="order",
    topic="orders",
    key="customer",
    columns=(
        Column(name="customer", source="Customer"),
        Column(name="amount", type="decimal"),
        Column(name="details", type="json"),
        Column(name="shop", type="int"),
    ),
)
LOOKUP = Lookup(table="shop.customers", key="id", by="customer", add=(Added(column="name"),))
SOUND = Enrichment(name="e", event="order", to="orders.enriched", lookup=LOOKUP, side="orders.unknown")


def faults(**changes: Any) -> list[str]:
    return [f"{path}: {why}" for path, why in msgspec.structs.replace(SOUND, **changes).faults(ORDER)]


def with_lookup(**changes: Any) -> list[str]:
    return faults(lookup=msgspec.structs.replace(LOOKUP, **changes))


def test_what_is_sound() -> None:
    assert faults() == []
    assert faults(missing="pass", side=None) == []
    assert faults(missing="side") == []
    assert faults(lookup=None, side=None, key="shop") == []
    assert faults(key="name") == []
    assert with_lookup(key="customer", by=None) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"lookup": None, "side": None},
            ["lookup: without it the events are as they were: declare it, or a key to send them under"],
        ),
        ({"side": None}, ["side: missing: retry needs it: it is where events go whose row is not there"]),
        ({"missing": "pass"}, ["side: is for a lookup with missing: retry or side: nothing goes there"]),
        (
            {"lookup": None, "key": "shop"},
            ["side: is for a lookup with missing: retry or side: nothing goes there"],
        ),
        ({"side": "orders.enriched"}, ["side: is where the others go: what is missing is another message"]),
        ({"to": "orders"}, ["to: orders is where the events come from"]),
        ({"side": "orders"}, ["side: orders is where the events come from"]),
        ({"key": "city"}, ["key: 'city' is not among the columns of the event (customer, amount, details, shop)"]),
        ({"key": "amount"}, ["key: amount is decimal; a key is one of date, int, text, uuid"]),
        ({"key": "details"}, ["key: details is json; a key is one of date, int, text, uuid"]),
    ],
)
def test_what_contradicts(changes: dict[str, Any], expected: list[str]) -> None:
    assert faults(**changes) == expected


@pytest.mark.parametrize(
    ("lookup", "expected"),
    [
        ({"by": "amount"}, ["lookup.by: amount is decimal; a key is one of date, int, text, uuid"]),
        (
            {"by": None},
            ["lookup.key: 'id' is not among the columns of the event (customer, amount, details, shop)"],
        ),
        (
            {"add": (Added(column="a"), Added(column="b", name="a"))},
            ["lookup.add[1]: 'a' is there twice: give one another name"],
        ),
        (
            {"add": (Added(column="shop"),)},
            ["lookup.add[0]: 'shop' is a field of order already: give it another name"],
        ),
    ],
)
def test_what_contradicts_in_a_lookup(lookup: dict[str, Any], expected: list[str]) -> None:
    assert with_lookup(**lookup) == expected


def test_without_its_event_it_is_checked_by_itself() -> None:
    assert msgspec.structs.replace(SOUND, side=None, key="city").faults() == [
        ("side", "missing: retry needs it: it is where events go whose row is not there")
    ]
