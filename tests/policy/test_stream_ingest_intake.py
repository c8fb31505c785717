"""Messages to rows: nothing is lost, and a bad neighbour changes nothing for a good message."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.event import struct_of
from contracts.quarantine import Reason
from modules.stream_ingest.intake import Intake
from tests.modules.stream_ingest_kit import NOW, ORDER_COLUMNS, days_ago, declared, order

BOUNDED = {"column": "placed_at", "max_future_s": 60, "max_past_s": 86400}
EVENT = declared({"table": "orders"}, time=BOUNDED)
DROPPING = declared({"table": "orders"}, time=BOUNDED | {"otherwise": "drop"})
JSON_EVENT = declared({"table": "orders"}, [*ORDER_COLUMNS, {"name": "extra", "type": "json"}])


def reason(raw: bytes) -> Reason:
    taken = Intake(EVENT).take([raw], NOW)
    assert not taken.rows
    [refused] = taken.refused
    assert (refused.at, refused.raw) == (0, raw)
    return refused.reason


@pytest.mark.parametrize(
    ("raw", "column", "code"),
    [
        (b"", "", "not json"),
        (b"{", "", "not json"),
        (b"[]", "", "not the declared object"),
        (order(1) + b"\n" + order(2), "", "not json"),
        (order(1).replace(b"ada", b"\xff"), "", "not utf-8"),
        (order(1).replace(b'"ada"', b"7"), "customer", "wrong type"),
        (order(0), "order_id", "not allowed"),
        (order(1, who="x" * 21), "customer", "not allowed"),
        (order(1, amount="1.501"), "amount", "not allowed"),
        (order(1, placed_at="yesterday"), "placed_at", "not a value of its type"),
        (order(1, who="a\0b"), "customer", "not storable"),
        (b'{"order_id": 1}', "placed_at", "missing"),
        (order(1, at=days_ago(1.1)), "placed_at", "too far in the past"),
        (order(1, at=days_ago(-1)), "placed_at", "too far in the future"),
        (order(1, placed_at="0001-01-01T00:00:00+14:00"), "placed_at", "too far in the past"),
    ],
)
def test_a_refused_message_says_which_column_and_why(raw: bytes, column: str, code: str) -> None:
    found = reason(raw)
    assert (found.column, found.code) == (column, code)
    assert found.message


def test_what_is_refused_does_not_show_a_personal_value() -> None:
    for raw in (order(1, who="secret" * 10), order(1, who=["secret"])):
        assert "secret" not in str(reason(raw))


def test_a_nul_is_found_inside_of_json_and_a_text_that_only_looks_like_one_passes() -> None:
    intake = Intake(JSON_EVENT)
    for extra in ({"a": ["\0"]}, {"\0": 1}):
        [refused] = intake.take([order(1, extra=extra)], NOW).refused
        assert (refused.reason.column, refused.reason.code) == ("extra", "not storable")
    assert len(intake.take([order(1, extra={"a": "\\u0000"})], NOW).rows) == 1


def test_what_is_nested_too_deeply_is_refused() -> None:
    raw = order(1)[:-1] + b',"extra":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    [refused] = Intake(JSON_EVENT).take([raw], NOW).refused
    assert refused.reason.code == "not json"


def test_bounds_of_time_are_included() -> None:
    times = [NOW - timedelta(days=1), NOW + timedelta(seconds=60)]
    assert len(Intake(EVENT).take([order(1, at=at) for at in times], NOW).rows) == 2


def test_what_is_out_of_time_is_dropped_where_that_is_declared() -> None:
    taken = Intake(DROPPING).take([order(1), order(2, at=days_ago(9)), b"no order"], NOW)
    assert (len(taken.rows), taken.dropped, len(taken.refused)) == (1, 1, 1)


def test_what_was_taken_once_is_taken_again_whatever_the_time() -> None:
    assert len(Intake(EVENT).again([order(1, at=days_ago(9))]).rows) == 1


MESSAGES = st.one_of(
    st.integers(1, 50).map(order),
    st.floats(-3, 3).map(lambda days: order(1, at=days_ago(days))),
    st.sampled_from([b"", b"{}", b"[1]", order(0), order(1, who="a\0"), order(3).replace(b"ada", b"\xfe")]),
    st.binary(max_size=20),
)


@given(batch=st.lists(MESSAGES, max_size=30))
def test_every_message_is_a_row_or_refused_and_neighbours_make_no_difference(batch: list[bytes]) -> None:
    intake = Intake(EVENT)
    together = intake.take(batch, NOW)
    alone = [intake.take([raw], NOW) for raw in batch]
    assert together.rows == [row for one in alone for row in one.rows]
    assert [(one.raw, one.reason) for one in together.refused] == [
        (one.raw, one.reason) for each in alone for one in each.refused
    ]
    assert [batch[one.at] for one in together.refused] == [one.raw for one in together.refused]
    assert len(together.rows) + len(together.refused) == len(batch)
    assert [msgspec.json.decode(raw, type=struct_of(EVENT)) for raw in together.raws] == together.rows
