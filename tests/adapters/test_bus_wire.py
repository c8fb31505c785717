from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.bus.wire import OURS, from_wire, key_bytes, key_text, origin_of, to_headers
from contracts.message import CORRELATION_ID, Envelope

IDS = st.from_regex(CORRELATION_ID, fullmatch=True)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
INSTANTS = st.datetimes(
    min_value=datetime(1900, 1, 1),  # noqa: DTZ001 - Hypothesis wants bounds without a zone
    max_value=datetime(2200, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)
ENVELOPES = st.builds(
    Envelope,
    id=IDS,
    address=st.just("orders"),
    body=st.binary(),
    key=st.none() | TEXT,
    headers=st.dictionaries(TEXT.filter(lambda name: name not in OURS), TEXT, max_size=4),
    correlation_id=IDS,
    published_at=INSTANTS,
    not_before=st.none() | INSTANTS,
    priority=st.integers(-(2**31) + 1, 2**31 - 1),
)


def read(headers: Any = (), **given: Any) -> Envelope:
    fields = {"key": None, "origin": "orders:0:7", "stored_ms": 1_700_000_000_123, **given}
    return from_wire("orders", b"{}", headers=list(headers), **fields)


@given(ENVELOPES)
def test_what_goes_out_comes_back(envelope: Envelope) -> None:
    back = from_wire(
        "orders",
        envelope.body,
        key=key_text(key_bytes(envelope.key)),
        headers=to_headers(envelope),
        origin="orders:0:7",
        stored_ms=-1,
    )
    assert back == envelope


@given(
    st.lists(st.tuples(st.sampled_from([*OURS, "ce_id", "ce-id", "ce_time", "ce_partitionkey", "x"]), st.binary())),
    st.none() | st.binary(),
    st.integers(-(2**63), 2**63 - 1),
)
def test_anything_can_be_read(headers: list[tuple[str, bytes]], key: bytes | None, stored_ms: int) -> None:
    envelope = read(headers, key=key_text(key), stored_ms=stored_ms)
    assert CORRELATION_ID.fullmatch(envelope.id)
    assert CORRELATION_ID.fullmatch(envelope.correlation_id)
    assert envelope.published_at is None or envelope.published_at.tzinfo is UTC
    assert not OURS & set(envelope.headers)
    msgspec.msgpack.encode(envelope)


@given(ENVELOPES.map(lambda envelope: msgspec.structs.replace(envelope, headers={"x": "\ud800"}, key="\ud800")))
def test_no_text_keeps_a_message_from_being_written(envelope: Envelope) -> None:
    assert dict(to_headers(envelope))["x"] == b"?"
    assert key_bytes(envelope.key)


def test_a_message_that_says_nothing_is_named_after_its_place() -> None:
    bare, headed = read(), read([("tenant", b"blue")])
    assert bare.id == bare.correlation_id == headed.id == "orders:0:7"
    assert bare.published_at == headed.published_at == datetime(2023, 11, 14, 22, 13, 20, 123000, UTC)
    assert (bare.key, bare.not_before, bare.priority, bare.headers) == (None, None, 0, {})
    assert headed.headers == {"tenant": "blue"}


@pytest.mark.parametrize("dash", ["_", "-"])
def test_cloudevents_headers_are_honoured_and_kept(dash: str) -> None:
    said = {
        "id": "A-1",
        "source": "/shop",
        "type": "order.placed",
        "time": "2026-01-01T12:00:00.5+02:00",
        "partitionkey": "k",
    }
    headers = [(f"ce{dash}{name}", value.encode()) for name, value in said.items()]
    envelope = read(headers)
    assert (envelope.id, envelope.correlation_id, envelope.key) == ("A-1", "A-1", "k")
    assert envelope.published_at == datetime(2026, 1, 1, 10, 0, 0, 500000, UTC)
    assert envelope.headers == {name: value.decode() for name, value in headers}
    assert read([*headers, ("message-id", b"ours")], key="own").key == "own"
    assert read([*headers, ("message-id", b"ours")]).id == "ours"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("message-id", b"two words"),
        ("message-id", b"\xff\xfe"),
        ("ce_id", b"/path/of/a/resource"),
        ("published-at", b"yesterday"),
        ("published-at", b"0001-01-01T00:00:00+14:00"),
        ("not-before", b"soon"),
        ("priority", b"highest"),
        ("priority", b"1" * 10_000),
        ("correlation-id", b"x" * 129),
    ],
)
def test_what_is_wrong_counts_as_not_said(name: str, value: bytes) -> None:
    envelope = read([(name, value)])
    assert envelope.id == envelope.correlation_id == "orders:0:7"
    assert envelope.published_at == read().published_at
    assert envelope.not_before is None
    assert envelope.priority == (2**31 - 1 if value.isdigit() else 0)


def test_instants_are_utc_wherever_they_come_from() -> None:
    at = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    sent = Envelope(id="a", address="orders", body=b"", correlation_id="a", published_at=at, not_before=at)
    back = read(to_headers(sent))
    assert back.published_at == back.not_before == at
    assert back.published_at is not None
    assert back.published_at.tzinfo is UTC
    naive = msgspec.structs.replace(sent, published_at=datetime(2026, 1, 1, 12))  # noqa: DTZ001 - that is the case
    assert read(to_headers(naive)).published_at == datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_the_fields_of_the_envelope_outrank_headers_of_the_same_name() -> None:
    sent = Envelope(id="a", address="orders", body=b"", correlation_id="c", headers={"message-id": "b", "x": "y"})
    back = read(to_headers(sent))
    assert back.id == "a"
    assert back.headers == {"x": "y"}


def test_headers_without_a_value_are_left_out_and_the_last_of_one_name_counts() -> None:
    assert read([("a", None), ("b", b""), ("c", b"1"), ("c", b"2")]).headers == {"b": "", "c": "2"}


@given(st.binary(), st.binary())
def test_keys_that_differ_stay_different(one: bytes, other: bytes) -> None:
    def plain(key: bytes) -> bool:
        return b"\\" not in key

    if one != other and plain(one) and plain(other):
        assert key_text(one) != key_text(other)


@given(st.text(max_size=300), st.text(max_size=50))
def test_a_place_is_a_safe_id(address: str, place: str) -> None:
    assert CORRELATION_ID.fullmatch(origin_of(address, place))


def test_a_place_is_readable_where_it_can_be() -> None:
    assert origin_of("orders.raw", "3:1700000000000-0") == "orders.raw:3:1700000000000-0"
