from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.bus.identity import correlation_id, identified, message_id, text_headers
from adapters.clock.manual import ManualClock
from contracts.message import CORRELATION_ID, Envelope

CLOCK = ManualClock()


@given(st.one_of(st.none(), st.text(max_size=200), st.from_regex(CORRELATION_ID, fullmatch=True)))
def test_a_correlation_id_is_kept_only_if_it_matches_in_full(given_id: str | None) -> None:
    kept = correlation_id(given_id, CLOCK)
    assert CORRELATION_ID.fullmatch(kept)
    assert (kept == given_id) == bool(given_id is not None and CORRELATION_ID.fullmatch(given_id))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"message-id": "a", "ce-id": "b"}, "a"),
        ({"message-id": "not safe", "ce-id": "b"}, "b"),
        ({"ce-id": "b"}, "b"),
        ({"message-id": ""}, None),
        ({"message-id": "a\n"}, None),
        ({}, None),
    ],
)
def test_the_first_valid_header_names_the_message(headers: dict[str, str], expected: str | None) -> None:
    taken = message_id(headers, CLOCK)
    assert CORRELATION_ID.fullmatch(taken)
    if expected:
        assert taken == expected
    else:
        assert taken not in headers.values()


def test_an_envelope_that_is_in_order_is_itself() -> None:
    envelope = Envelope(
        id="a", address="x", body=b"", correlation_id="c", published_at=datetime(2026, 1, 1, tzinfo=UTC)
    )
    assert identified(envelope, CLOCK) is envelope


def test_what_is_missing_is_filled_in_and_the_rest_is_kept() -> None:
    envelope = Envelope(id="", address="x", body=b"b", key="k", headers={"message-id": "m"}, priority=2)
    filled = identified(envelope, CLOCK)
    assert (filled.id, filled.address, filled.body, filled.key, filled.priority) == ("m", "x", b"b", "k", 2)
    assert CORRELATION_ID.fullmatch(filled.correlation_id)
    assert filled.published_at == CLOCK.now()


@pytest.mark.parametrize(
    ("value", "expected"), [("text", "text"), (b"bytes", "bytes"), (b"\xff", "\ufffd"), (7, "7"), (True, "True")]
)
def test_headers_become_text(value: Any, expected: str) -> None:
    assert text_headers({"name": value, "absent": None}) == {"name": expected}
