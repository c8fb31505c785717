from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.clock.manual import ManualClock
from contracts.errors import BadInput
from contracts.message import CORRELATION_ID, Contract, Envelope
from runtime import commands


class Pay(Contract, frozen=True):
    amount: Decimal
    to: str
    by_day: dict[int, int] = msgspec.field(default_factory=dict)


GOOD = {"amount": "1.50", "to": "ann"}


def make(payload: Any = GOOD, **options: Any) -> Envelope:
    return commands.envelope("pay.out", payload, contract=Pay, clock=ManualClock(), **options)


def faults_of(payload: Any = GOOD, **options: Any) -> list[str]:
    with pytest.raises(BadInput) as caught:
        make(payload, **options)
    return caught.value.faults


def test_a_message_carries_what_was_given() -> None:
    made = make(id="pay-1", key="ann", priority=3, correlation_id="order:7", headers={"source": "cron"})
    assert (made.id, made.address, made.key, made.priority) == ("pay-1", "pay.out", "ann", 3)
    assert (made.correlation_id, made.headers) == ("order:7", {"source": "cron"})
    assert msgspec.json.decode(made.body) == GOOD
    assert made.published_at is not None
    assert made.not_before is None


def test_json_is_kept_to_the_byte() -> None:
    text = b'{"amount": 0.1000000000000000000001, "to": "ann", "by_day": {"1": 2}}'
    assert make(text).body == text


def test_every_form_of_payload_is_understood_alike() -> None:
    given_as_struct = make(Pay(amount=Decimal("1.50"), to="ann"))
    assert msgspec.json.decode(given_as_struct.body, type=Pay) == msgspec.json.decode(make().body, type=Pay)
    assert make(given_as_struct.body).body == given_as_struct.body


def test_all_faults_come_at_once() -> None:
    faults = faults_of(
        {"amount": "x", "amoun": 1}, id="no spaces", key="", priority=10**9, delay_s=-1, headers={"a": "\x00"}
    )
    for word in ("amount", "to: missing", "did you mean amount?", "id:", "key:", "priority:", "delay_s:", "headers:"):
        assert any(word in fault for fault in faults), word


@pytest.mark.parametrize("payload", [b"", b"{", b"\xff", b"[" * 100_000, b"[]", b"null", b'{"amount":"\\ud800"}'])
def test_what_is_no_message_is_a_fault(payload: bytes) -> None:
    assert faults_of(payload)


def test_what_json_can_not_say_is_a_fault() -> None:
    assert faults_of({"amount": object(), "to": "ann"})


def test_a_fresh_message_is_its_own_correlation() -> None:
    made = make()
    assert CORRELATION_ID.fullmatch(made.id)
    assert made.correlation_id == made.id


@given(st.text(max_size=140))
def test_only_a_safe_correlation_id_is_kept(text: str) -> None:
    made = make(id="m1", correlation_id=text)
    assert made.correlation_id == (text if CORRELATION_ID.fullmatch(text) else "m1")


@given(st.text(max_size=140))
def test_an_id_is_kept_or_refused_but_never_changed(text: str) -> None:
    if CORRELATION_ID.fullmatch(text):
        assert make(id=text).id == text
    else:
        assert faults_of(id=text)[0].startswith("id:")


def test_a_line_break_does_not_slip_through_at_the_end() -> None:
    assert faults_of(id="abc\n")
    assert make(id="m", correlation_id="abc\n").correlation_id == "m"


@given(st.text(max_size=600))
def test_a_key_fits_the_ledger_or_is_refused(text: str) -> None:
    try:
        key = make(key=text).key
    except BadInput:
        return
    assert key is not None
    assert 0 < len(key.encode()) <= commands.KEY_BYTES
    assert "\x00" not in key


def test_a_delay_is_counted_from_now() -> None:
    made = make(delay_s=90)
    assert made.not_before is not None
    assert made.published_at is not None
    assert made.not_before - made.published_at == timedelta(seconds=90)


def test_a_start_can_be_named_with_its_offset() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    assert make(not_before=at).not_before == at
    assert faults_of(not_before=at.replace(tzinfo=None))
    assert faults_of(not_before=at, delay_s=1)


@pytest.mark.parametrize("delay_s", [float("nan"), float("inf"), -0.1, 1e300])
def test_a_delay_is_bounded(delay_s: float) -> None:
    assert faults_of(delay_s=delay_s)


def test_headers_are_bounded() -> None:
    assert faults_of(headers={str(n): "" for n in range(65)})
    assert faults_of(headers={"a": "x" * 20_000})
    assert faults_of(headers={"": "x"})
