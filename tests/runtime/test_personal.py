"""Fields that a contract marks as personal, and messages without their values."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta

from contracts.message import Contract
from runtime import personal

PERSONAL = Meta(extra={"personal": True})


class Address(msgspec.Struct, kw_only=True):
    street: Annotated[str, PERSONAL]
    country: str = "NL"


class Line(Contract, frozen=True):
    sku: str
    note: Annotated[str | None, PERSONAL] = None


class Person(msgspec.Struct, tag="person", kw_only=True):
    name: Annotated[str, Meta(min_length=1), PERSONAL]
    knows: list[Person] = []


class Firm(msgspec.Struct, tag="firm", kw_only=True):
    name: str


class Pair(msgspec.Struct, array_like=True):
    number: int
    secret: Annotated[int, PERSONAL]


class Order(Contract, frozen=True, rename="camel"):
    id: int
    e_mail: Annotated[str, PERSONAL] | None = None
    phone: Annotated[str | None, PERSONAL] = None
    address: Address | None = None
    lines: list[Line] = msgspec.field(default_factory=list)
    buyer: Person | Firm | None = None
    pairs: tuple[Pair, ...] = ()
    by_name: dict[Annotated[str, PERSONAL], int] = msgspec.field(default_factory=dict)
    answers: dict[str, Annotated[int, PERSONAL]] = msgspec.field(default_factory=dict)
    profile: Annotated[dict[str, Any], PERSONAL] = msgspec.field(default_factory=dict)
    spot: tuple[int, Annotated[float, PERSONAL]] | None = None


class Plain(Contract, frozen=True):
    id: int


def masked(**given: Any) -> Any:
    return msgspec.json.decode(personal.masked(Order, msgspec.json.encode({"id": 1, **given})))


def test_personal_fields_are_found_wherever_they_are() -> None:
    assert personal.fields_of(Order) == (
        "eMail", "phone", "address.street", "lines[].note", "buyer.name", "pairs[].secret", "byName{}", "answers{}",
        "profile", "spot[]",
    )  # fmt: skip
    assert personal.fields_of(Plain) == ()


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"eMail": "a@b.c", "phone": "+31 6"}, {"eMail": "***", "phone": "***"}),
        ({"eMail": None}, {"eMail": None}),
        ({"address": {"street": "Dam 1", "country": "BE"}}, {"address": {"street": "***", "country": "BE"}}),
        ({"address": {"street": "Dam 1", "flat": "3b"}}, {"address": {"street": "***", "flat": "***"}}),
        ({"lines": [{"sku": "x"}, {"sku": "y", "note": "n"}]}, {"lines": [{"sku": "x"}, {"sku": "y", "note": "***"}]}),
        ({"buyer": {"type": "firm", "name": "Acme"}}, {"buyer": {"type": "firm", "name": "Acme"}}),
        (
            {"buyer": {"type": "person", "name": "Ann", "knows": [{"type": "person", "name": "Bob"}]}},
            {"buyer": {"type": "person", "name": "***", "knows": [{"type": "person", "name": "***"}]}},
        ),
        ({"pairs": [[1, 2], [3, 4]]}, {"pairs": [[1, "***"], [3, "***"]]}),
        ({"byName": {"Ann": 1}}, {"byName": "***"}),
        ({"answers": {"a": 1}}, {"answers": {"a": "***"}}),
        ({"profile": {"a": [1]}}, {"profile": "***"}),
        ({"spot": [1, 52.37]}, {"spot": [1, "***"]}),
    ],
)
def test_their_values_are_masked_and_nothing_else(given: dict[str, Any], shown: dict[str, Any]) -> None:
    assert masked(**given) == {"id": 1, **shown}


@pytest.mark.parametrize("body", [b"", b"{", b'{"eMail": "a@b.c"}', b'{"id": 1, "emial": "a@b.c"}', b"\xff", b"[1]"])
def test_a_body_that_the_contract_does_not_fit_is_hidden_whole(body: bytes) -> None:
    assert personal.masked(Order, body) == b"***"


def test_without_personal_fields_a_body_stays_byte_by_byte() -> None:
    for body in (b'{ "id":  1 }', b"not JSON"):
        assert personal.masked(Plain, body) == body


def test_what_was_said_of_a_message_is_told_without_its_personal_values() -> None:
    long = "x" * 200
    body = msgspec.json.encode({"id": "7", "eMail": "o'hara@b.c", "profile": {"n": long}, "phone": "06"})
    said = f"id: got '7'; eMail: got {'o' + chr(39) + 'hara@b.c'!r}; profile: got {repr(long)[:77]}...; key 06"
    assert personal.scrubbed(Order, body, said) == "id: got '7'; eMail: got \"***\"; profile: got '***...; key 06"
    assert personal.scrubbed(Plain, body, said) == said
    assert personal.scrubbed(Order, b"{", "it is not JSON") == "it is not JSON"


def test_a_number_is_not_hidden_within_another() -> None:
    body = msgspec.json.encode({"id": 1, "answers": {"a": 1234}})
    assert personal.scrubbed(Order, body, "1234 of 12345 at line 1234") == "*** of 12345 at line ***"
