"""`contracts/event.py`: what a declaration says against itself, and the Struct that takes exactly what it allows."""

from __future__ import annotations

import contextlib
import json
import re
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.dataset import Column, ColumnType
from contracts.event import Event, EventTime, Lake, Land, struct_of
from runtime.personal import fields_of

UNSET = object()
FIRST, LAST = datetime(1, 1, 3), datetime(9999, 12, 29)  # noqa: DTZ001 - clocks on some wall


def event(*columns: Column, **more: Any) -> Event:
    return Event(name="thing", topic="things", columns=columns, **more)


def taken(column: Column, value: Any = UNSET) -> Any:
    """What the column becomes of a JSON value, or of its absence."""
    fields = {} if value is UNSET else {column.source_name: value}
    return getattr(msgspec.json.decode(json.dumps(fields), type=struct_of(event(column))), column.name)


def refused(column: Column, value: Any = UNSET) -> str:
    with pytest.raises(msgspec.ValidationError) as caught:
        taken(column, value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("type_", "given", "expected"),
    [
        ("text", "x", "x"),
        ("int", -5, -5),
        ("int", (1 << 63) - 1, (1 << 63) - 1),
        ("float", 1.5, 1.5),
        ("float", 2, 2.0),
        ("decimal", 1.25, Decimal("1.25")),
        ("decimal", "1.25", Decimal("1.25")),
        ("decimal", 3, Decimal(3)),
        ("bool", False, False),
        ("date", "2024-02-29", date(2024, 2, 29)),
        ("timestamp", "2024-02-29T12:00:00Z", datetime(2024, 2, 29, 12, tzinfo=UTC)),
        ("json", {"a": [1, None]}, {"a": [1, None]}),
        ("json", "text", "text"),
        ("uuid", "12345678-1234-5678-1234-567812345678", UUID("12345678-1234-5678-1234-567812345678")),
    ],
)
def test_each_type_takes_its_values(type_: ColumnType, given: Any, expected: Any) -> None:
    kept = taken(Column(name="it", type=type_, nullable=False), given)
    assert kept == expected
    assert type(kept) is type(expected)


@pytest.mark.parametrize(
    ("type_", "given"),
    [
        ("text", 1),
        ("int", "1"),
        ("int", 1.5),
        ("int", True),
        ("int", 1 << 63),
        ("int", -(1 << 63) - 1),
        ("float", "1.5"),
        ("decimal", "x"),
        ("decimal", "NaN"),
        ("decimal", "Infinity"),
        ("decimal", "1E+999999999"),
        ("decimal", True),
        ("bool", 1),
        ("bool", "true"),
        ("date", "2023-02-29"),
        ("timestamp", "yesterday"),
        ("timestamp", "2024-02-30T00:00:00Z"),
        ("uuid", "1234"),
    ],
)
def test_each_type_refuses_those_of_others(type_: ColumnType, given: Any) -> None:
    assert re.search(r"\$\.it|it: ", refused(Column(name="it", type=type_), given))


@pytest.mark.parametrize("type_", ["text", "int", "decimal", "timestamp", "json", "uuid"])
def test_null_and_absence_are_one(type_: ColumnType) -> None:
    nullable, required = Column(name="it", type=type_), Column(name="it", type=type_, nullable=False)
    assert taken(nullable) is None
    assert taken(nullable, None) is None
    assert "it" in refused(required)
    assert "it" in refused(required, None)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (Column(name="it", default="x"), "x"),
        (Column(name="it", type="int", default=7, nullable=False), 7),
        (Column(name="it", type="decimal", default=0.5, scale=2), Decimal("0.5")),
        (Column(name="it", type="bool", default=False), False),
        (Column(name="it", type="date", default="2024-01-31"), date(2024, 1, 31)),
        (Column(name="it", type="timestamp", default="2024-01-31"), datetime(2024, 1, 31, tzinfo=UTC)),
        (Column(name="it", type="json", default='{"a": []}', nullable=False), {"a": []}),
        (Column(name="it", choices=("a", "b"), default="b"), "b"),
    ],
)
def test_a_default_replaces_what_is_missing_or_null(column: Column, expected: Any) -> None:
    assert event(column).faults() == []
    assert taken(column) == expected
    assert taken(column, None) == expected


@pytest.mark.parametrize(
    ("column", "right", "wrong"),
    [
        (Column(name="it", type="int", min=1, max=3), [1, 3], [0, 4]),
        (Column(name="it", type="int", min="1"), [1], [0]),
        (Column(name="it", type="float", min=0.5), [0.5], [0.4]),
        (Column(name="it", type="decimal", min=0.1, max="99.9"), [0.1, 99.9], [0.09, 99.91]),
        (Column(name="it", type="date", min="2024-01-01"), ["2024-01-01"], ["2023-12-31"]),
        (
            Column(name="it", type="timestamp", max="2024-01-01", timezone="Europe/Berlin"),
            ["2024-01-01T00:00:00", "2023-12-31T23:00:00Z"],
            ["2024-01-01T00:00:00.000001", "2023-12-31T23:00:01Z"],
        ),
        (Column(name="it", choices=("a", "b")), ["a"], ["A", "", "c"]),
        (Column(name="it", choices=("a", "b"), personal=True), ["a"], ["c"]),
        (Column(name="it", choices=("a", "bb"), max_length=1), ["a"], ["bb"]),
        (Column(name="it", type="int", choices=(1, 2, 9), max=5), [1, 2], [9, 3]),
        (Column(name="it", type="decimal", choices=(1, 0.5)), [1, 0.5, "1.00"], [2]),
        (Column(name="it", type="date", choices=("2024-01-01",)), ["2024-01-01"], ["2024-01-02"]),
        (Column(name="it", max_length=2), ["", "ab", "äö"], ["abc"]),
        (Column(name="it", pattern="a|bc"), ["a", "bc"], ["ab", "abc", "xa", "a\n", "bc\n"]),
        (Column(name="it", pattern=r"(?s:a.b)"), ["a\nb"], ["ab"]),
    ],
)
def test_what_a_column_allows(column: Column, right: list[Any], wrong: list[Any]) -> None:
    assert event(column).faults() == []
    for value in right:
        taken(column, value)
    for value in wrong:
        assert "it" in refused(column, value)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        (Column(name="it", personal=True, choices=("a", "b")), "secret"),
        (Column(name="it", personal=True, pattern="[0-9]+"), "secret"),
        (Column(name="it", personal=True, max_length=3), "secret"),
        (Column(name="it", type="decimal", max=5), "5150.77"),
        (Column(name="it", type="decimal", scale=1), "5150.77"),
        (Column(name="it", type="date", max="2000-01-01"), "2001-09-11"),
    ],
)
def test_a_refusal_does_not_show_the_value(column: Column, value: str) -> None:
    assert value not in refused(column, value)


decimals = st.decimals(allow_nan=False, allow_infinity=False, places=None) | st.builds(
    lambda digits, exponent: Decimal(digits).scaleb(exponent, context=None),
    st.integers(-(10**40), 10**40),
    st.integers(-60, 40),
)


@given(decimals, st.integers(1, 38).flatmap(lambda p: st.tuples(st.just(p), st.integers(0, p))), st.booleans())
def test_decimals_are_exact_or_refused(number: Decimal, digits: tuple[int, int], rounds: bool) -> None:
    precision, scale = digits
    column = Column(
        name="it", type="decimal", precision=precision, scale=scale, rounding="nearest" if rounds else "refuse"
    )
    # The reference computes with whole numbers, which are exact.
    sign, coefficient, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    whole = int("".join(map(str, coefficient))) * (-1 if sign else 1)
    shift = exponent + scale
    scaled = whole * 10**shift if shift >= 0 else _half_up(whole, 10**-shift)
    exact = shift >= 0 or scaled * 10**-shift == whole
    if abs(scaled) >= 10**precision or not (exact or rounds):
        assert "digits" in refused(column, str(number))
        return
    kept = taken(column, str(number))
    told = kept.as_tuple()
    assert told.exponent >= -scale
    value = int("".join(map(str, told.digits))) * (-1 if told.sign else 1)
    assert value * 10 ** (told.exponent + scale) == scaled


def _half_up(whole: int, by: int) -> int:
    rounded = (2 * abs(whole) + by) // (2 * by)
    return -rounded if whole < 0 else rounded


def test_the_same_way_of_rounding_as_files() -> None:
    column = Column(name="it", type="decimal", scale=1, rounding="nearest")
    assert [taken(column, text) for text in ("0.25", "0.35", "-0.25")] == [
        Decimal(text).quantize(Decimal("0.1"), ROUND_HALF_UP) for text in ("0.25", "0.35", "-0.25")
    ]


@given(
    st.datetimes(),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu"]),
    st.none() | st.integers(-14 * 60, 14 * 60),
)
def test_a_timestamp_without_an_offset_is_in_its_columns_zone(at: datetime, zone: str, offset: int | None) -> None:
    column = Column(name="it", type="timestamp", timezone=zone, min="0001-01-01", max="9999-12-31T23:59:59.999999")
    aware = None if offset is None else timezone(timedelta(minutes=offset))
    given_ = at.replace(tzinfo=aware)
    if not FIRST < at < LAST:
        # Another offset may push it over the ends of the calendar, which are the bounds here: in words, not in a crash.
        with contextlib.suppress(msgspec.ValidationError):
            taken(column, given_.isoformat())
        return
    kept = taken(column, given_.isoformat())
    assert kept.tzinfo is not None
    assert kept == (given_ if aware else at.replace(tzinfo=ZoneInfo(zone)))


@given(st.from_regex(r"[a-z_][a-z0-9_]{0,62}", fullmatch=True), st.text(min_size=1, max_size=8))
def test_any_name_can_be_a_columns(name: str, source: str) -> None:
    column = Column(name=name, source=source)
    if event(column).faults():
        assert name.startswith("__") or re.search(r'[\x00-\x1f"\\]', source)
    else:
        assert taken(column, "x") == "x"


@pytest.mark.parametrize("name", ["class", "def", "self", "name", "_", "none", "type"])
def test_names_that_python_uses(name: str) -> None:
    column = Column(name=name, type="decimal")
    assert event(column).faults() == []
    assert taken(column, "1.5") == Decimal("1.5")


def test_fields_that_are_not_declared() -> None:
    column = Column(name="a", source="A")
    content = b'{"A": "x", "b": 1}'
    assert getattr(msgspec.json.decode(content, type=struct_of(event(column))), "a") == "x"  # noqa: B009
    with pytest.raises(msgspec.ValidationError, match="unknown field `b`"):
        msgspec.json.decode(content, type=struct_of(event(column, extra_fields="refuse")))


@pytest.mark.parametrize(
    "column", [Column(name="it"), Column(name="it", nullable=False), Column(name="it", default="x")]
)
def test_a_personal_column_is_marked(column: Column) -> None:
    personal = msgspec.structs.replace(column, personal=True)
    assert fields_of(struct_of(event(personal, Column(name="other")))) == ("it",)


def test_equal_declarations_share_their_struct() -> None:
    one, other = (event(Column(name="a", choices=("x",)), description="A thing") for _ in range(2))
    assert struct_of(one) is struct_of(other)
    assert struct_of(one).__doc__ == "A thing"
    assert struct_of(one) is not struct_of(event(Column(name="a", choices=("y",))))
    assert msgspec.json.schema(struct_of(one))["$defs"]["Thing"]["properties"]["a"]["anyOf"][0] == {"enum": ["x"]}


AT = Column(name="at", type="timestamp", nullable=False)
A = Column(name="a")


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        (event(A, A), ["columns[1].name: 'a' is there twice", "columns[1].source: 'a' is there twice"]),
        (event(A, key="b"), ["key: 'b' is not among the columns (a)"]),
        (event(A, time=EventTime(column="at")), ["time.column: 'at' is not among the columns (a)"]),
        (event(A, time=EventTime(column="a")), ["time.column: a must be a timestamp with nullable: false"]),
        (
            event(Column(name="at", type="timestamp"), time=EventTime(column="at")),
            ["time.column: at must be a timestamp with nullable: false"],
        ),
        (
            event(Column(name="d", type="date", format="%d.%m.%Y")),
            ["columns[0].format: messages are JSON: dates and timestamps are ISO 8601"],
        ),
        (event(A, land=Land()), ["land.table: name a table, a lake, or both"]),
        (
            event(AT, time=EventTime(column="at"), land=Land(lake=Lake(path="x"), key=("at",))),
            ["land.key: is that of a table, and there is none"],
        ),
        (event(A, land=Land(table="t", key=("b",))), ["land.key[0]: 'b' is not among the columns (a)"]),
        (
            event(Column(name="j", type="json"), land=Land(table="t", key=("j",))),
            ["land.key[0]: j is json, which has no equality"],
        ),
        (
            event(A, land=Land(table="t", key=("a",))),
            ["land.key[0]: a must have nullable: false, or a default: null equals nothing"],
        ),
        (
            event(AT, time=EventTime(column="at"), land=Land(lake=Lake(path="../x"))),
            ["land.lake.path: '../x' must be a folder below the files root, with / and without .."],
        ),
        (
            event(A, land=Land(table="millrace.jobs")),
            ["land.table: the schema millrace is the runtime's own: take another one"],
        ),
        (
            event(A, land=Land(lake=Lake(path="x"))),
            ["land.lake: its files are put by date: name the column that has it, as time.column"],
        ),
        (event(Column(name="n", type="int", min=1.5)), ["columns[0].min: 1.5 is not a value of a int column"]),
        (
            event(Column(name="n", type="int", choices=(1, "x"))),
            ["columns[0].choices[1]: 'x' is not a value of a int column"],
        ),
        (
            event(Column(name="t", type="timestamp", default="soon")),
            ["columns[0].default: 'soon' is not a value of a timestamp column"],
        ),
        (
            event(Column(name="j", type="json", default="{")),
            ["columns[0].default: '{' is not a value of a json column"],
        ),
        (event(Column(name="n", type="decimal", min=2, max=1.5)), ["columns[0].min: 2 is above max, 1.5"]),
        (
            event(Column(name="n", type="decimal", max=1, default=2)),
            ["columns[0].default: 2 is what the column refuses: is above max, 1"],
        ),
        (
            event(Column(name="c", choices=("a",), default="b")),
            ["columns[0].default: 'b' is what the column refuses: Invalid enum value 'b'"],
        ),
        (
            event(Column(name="p", pattern="(?i)a")),
            ["columns[0].pattern: '(?i)a' has flags for the whole of it: write (?i:…) for (?i)…"],
        ),
        (
            event(Column(name="q", source='"')),
            ["columns[0].source: a field's name has no quotation marks, backslashes or control characters"],
        ),
        (event(Column(name="__init__")), ["columns[0].name: names that begin with __ are Python's own"]),
    ],
)
def test_what_contradicts_itself(declared: Event, expected: list[str]) -> None:
    assert [f"{path}: {why}" for path, why in declared.faults()] == expected


def test_a_whole_declaration_is_sound() -> None:
    declared = event(
        AT, A, key="a", time=EventTime(column="at"), land=Land(table="t", key=("at",), lake=Lake(path="lake/t"))
    )
    assert declared.faults() == []
    assert re.fullmatch("[A-Z][a-z]+", struct_of(declared).__name__)
