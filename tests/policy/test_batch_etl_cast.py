"""The vectorised caster takes what a plain, slow reading takes, gives the same value, and refuses the rest."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.dataset import Column, CsvFormat, Dataset
from modules.batch_etl.cast import SEQ, Caster
from modules.batch_etl.rules import Rules

REFUSED = object()
NULL = None
SEVERAL = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def caster(column: Column, **form: Any) -> Caster:
    dataset = Dataset(name="d", table="d", source="d.csv", columns=(column,), mode="append", format=CsvFormat(**form))
    return Caster(Rules(dataset))


def cast_all(made: Caster, texts: Sequence[str | None]) -> list[Any]:
    """A value, or REFUSED, for each text."""
    name = made.names[0]
    raw = pl.DataFrame({name: texts}, schema={name: pl.String})
    cast = made.cast(raw, pl.int_range(len(texts), eager=True))
    assert cast.frame.columns == [name, SEQ]
    assert cast.frame.schema == {**made.schema, SEQ: pl.Int64()}
    good = dict(zip(cast.frame.get_column(SEQ), cast.frame.get_column(name), strict=True))
    bad = {index for index, reasons in cast.rejected if reasons}
    assert not bad & set(good)
    assert bad | set(good) == set(range(len(texts)))
    assert list(good) == sorted(good)
    return [good.get(index, REFUSED) if index in good else REFUSED for index in range(len(texts))]


def agree(made: Caster, texts: list[str], reference: Callable[[str], Any]) -> None:
    """Alone, each in a chunk of its own; and together, in which the layouts are tried one after the other."""
    expected = [NULL if text == "" else _or_refused(reference, text) for text in texts]
    many = 150 // max(1, len(texts)) + 1
    for got in (cast_all(made, texts), cast_all(made, texts * many)[: len(texts)]):
        for text, value, wanted in zip(texts, got, expected, strict=True):
            assert type(value) is type(wanted), (text, value, wanted)
            assert value == wanted or value != value, (text, value, wanted)


def _or_refused(reference: Callable[[str], Any], text: str) -> Any:
    try:
        return reference(text)
    except (ValueError, ArithmeticError, OverflowError):
        return REFUSED


def soup(alphabet: str, *shapes: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    """Texts of the type and texts that nearly are; several at once, because a chunk has one fate."""
    noise = st.text(alphabet=alphabet, max_size=12)
    padded = st.builds(
        lambda before, text, after: before + text + after,
        st.sampled_from(["", " ", "\t"]),
        st.one_of(*shapes),
        st.sampled_from(["", " "]),
    )
    cut = st.builds(lambda text, at: text[:at] + text[at + 1 :], st.one_of(*shapes), st.integers(0, 30))
    swapped = st.builds(
        lambda text, at, char: text[:at] + char + text[at + 1 :],
        st.one_of(*shapes),
        st.integers(0, 30),
        st.sampled_from(alphabet),
    )
    return st.lists(st.one_of(*shapes, *shapes, padded, cut, swapped, noise), min_size=1, max_size=12)


def stripped(text: str) -> str:
    return text.strip(" \t")


INTS = soup(
    "0123456789+-eE._ ,", st.integers(-(2**65), 2**65).map(str), st.integers(-(10**6), 10**6).map(lambda n: f"{n:+06}")
)


@SEVERAL
@given(INTS)
def test_int(texts: list[str]) -> None:
    def reference(text: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]+", stripped(text)):
            raise ValueError
        value = int(stripped(text))
        if not -(2**63) <= value < 2**63:
            raise ValueError
        return value

    agree(caster(Column(name="c", type="int")), texts, lambda t: _null_or(t, reference))


def _null_or(text: str, reference: Callable[[str], Any]) -> Any:
    return NULL if stripped(text) == "" else reference(text)


NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,5})?")
DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, places=None).map(str)
SMALL = st.decimals(min_value=-99999, max_value=99999, places=3).map(str)
CENTS = st.decimals(min_value=-99999, max_value=99999, places=2).map(str)
FLOATS = st.floats(allow_nan=True, allow_infinity=True).map(str)


@SEVERAL
@given(soup("0123456789+-eE._ ,infa", FLOATS, SMALL, DECIMALS), st.booleans(), st.sampled_from([".", ","]))
def test_float(texts: list[str], finite: bool, mark: str) -> None:
    if mark == ",":
        texts = [text.translate({ord("."): ",", ord(","): "."}) for text in texts]

    def reference(text: str) -> float:
        plain = stripped(text)
        if mark == ",":
            if "." in plain:
                raise ValueError
            plain = plain.replace(",", ".")
        if re.fullmatch(r"(?i)[+-]?inf(inity)?|nan", plain):
            if finite:
                raise ValueError
            return float(plain)
        if not NUMBER.fullmatch(plain):
            raise ValueError
        value = float(plain)
        if value in (float("inf"), float("-inf")):
            raise OverflowError
        return value

    agree(
        caster(Column(name="c", type="float", finite=finite), decimal_mark=mark),
        texts,
        lambda t: _null_or(t, reference),
    )


@SEVERAL
@given(
    soup("0123456789+-eE._ ,", SMALL, CENTS, DECIMALS, FLOATS),
    st.sampled_from([(6, 2), (18, 6), (38, 0), (38, 38), (5, 0), (12, 2)]),
    st.booleans(),
    st.sampled_from([".", ","]),
)
def test_decimal(texts: list[str], shape: tuple[int, int], nearest: bool, mark: str) -> None:
    precision, scale = shape
    if mark == ",":
        texts = [text.translate({ord("."): ",", ord(","): "."}) for text in texts]

    def reference(text: str) -> Decimal:
        plain = stripped(text)
        if mark == ",":
            if "." in plain:
                raise ValueError
            plain = plain.replace(",", ".")
        if not NUMBER.fullmatch(plain):
            raise ValueError
        import decimal

        with decimal.localcontext() as context:
            context.prec = 2000
            context.Emax, context.Emin = 999999, -999999
            number = Decimal(plain)
            rounded = (
                number.quantize(Decimal(1).scaleb(-scale), ROUND_HALF_UP)
                if abs(number) < Decimal(10) ** 1000
                else number
            )
            if rounded != number and not nearest:
                raise ValueError
            if abs(rounded) >= Decimal(10) ** (precision - scale):
                raise ValueError
            return rounded if rounded else abs(rounded)

    column = Column(
        name="c", type="decimal", precision=precision, scale=scale, rounding="nearest" if nearest else "refuse"
    )
    agree(caster(column, decimal_mark=mark), texts, lambda t: _null_or(t, reference))


@SEVERAL
@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                ["true", "FALSE", "T", "f", "Yes", "no", "1", "0", " true ", "ja", "2", "", "tru\u0435", "YES\t"]
            ),
            st.text(max_size=5),
        ),
        min_size=1,
        max_size=10,
    )
)
def test_bool(texts: list[str]) -> None:
    tokens = {
        "true": True,
        "t": True,
        "yes": True,
        "y": True,
        "1": True,
        "false": False,
        "f": False,
        "no": False,
        "n": False,
        "0": False,
    }

    def reference(text: str) -> bool:
        plain = stripped(text).lower()
        if plain not in tokens:
            raise ValueError
        return tokens[plain]

    agree(caster(Column(name="c", type="bool")), texts, lambda t: _null_or(t, reference))


DATES = st.dates().map(date.isoformat)


@SEVERAL
@given(
    soup(
        "0123456789-/. T+:",
        DATES,
        DATES,
        st.builds("{:04}-{:02}-{:02}".format, st.integers(0, 9999), st.integers(0, 13), st.integers(0, 32)),
    )
)
def test_date(texts: list[str]) -> None:
    def reference(text: str) -> date:
        plain = stripped(text)
        if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", plain):
            raise ValueError
        return date.fromisoformat(plain)

    agree(caster(Column(name="c", type="date")), texts, lambda t: _null_or(t, reference))


FORMATS = ["%d.%m.%Y", "%m/%d/%y", "%Y%m%d", "%d %b %Y", "%j %Y"]


@SEVERAL
@given(st.sampled_from(FORMATS), st.data())
def test_date_of_a_declared_form(form: str, data: st.DataObject) -> None:
    shapes = st.dates(min_value=date(1000, 1, 1)).map(lambda day: day.strftime(form))
    loose = st.dates(min_value=date(1000, 1, 1)).map(
        lambda day: day.strftime(form).replace(".0", ".").replace("/0", "/")
    )
    texts = data.draw(soup("0123456789./ Jan", shapes, loose))
    agree(
        caster(Column(name="c", type="date", format=form)),
        texts,
        lambda t: _null_or(t, lambda text: datetime.strptime(stripped(text), form).date()),  # noqa: DTZ007
    )


def _moment(moment: datetime, mark: str, zone: str, digits: int) -> str:
    fraction = f".{moment.microsecond:06}"[: digits + 1] if digits else ""
    return f"{moment:%Y-%m-%d}".rjust(10, "0") + f"{mark}{moment:%H:%M:%S}{fraction}{zone}"


MOMENTS = st.builds(
    _moment,
    st.datetimes(),
    st.sampled_from("T "),
    st.sampled_from(["Z", "", "+00:00", "+05:30", "-11:00", "+0200", "+02", "z", "+16:00", "-00:60"]),
    st.sampled_from([0, 0, 3, 6, 1]),
)
ODD_MOMENTS = st.sampled_from(
    [
        "2025-01-01", "2025-01-01T10:00", "2025-01-01T10:00Z", "2025-01-01T24:00:00Z", "2025-01-01T23:59:60Z",
        "2025-02-29T00:00:00Z", "2024-02-29T00:00:00Z", "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00",
        "2025-01-01T00:00:00.1234567Z", "2025-01-01T00:00:00.1234560Z", "2025-01-01T00:00:00,5Z", "2025-1-1T00:00:00Z",
        "2025-01-01T00:00:00 Z", "2025-01-01t00:00:00Z", "20250101T000000Z",
        "0000-01-01T00:00:00Z", "2025-01-01T00:00:00.Z",
    ]
)  # fmt: skip
ISO = re.compile(r"(\d{4}-\d\d-\d\d)([Tt ](\d\d:\d\d)(:\d\d)?([.,]\d{1,12})?( ?([Zz]|[+-]\d\d(:?\d\d)?))?)?", re.ASCII)


@SEVERAL
@given(soup("0123456789-:. TZ+,", MOMENTS, MOMENTS, ODD_MOMENTS))
def test_timestamp(texts: list[str]) -> None:
    def reference(text: str) -> datetime:
        plain = stripped(text)
        found = ISO.fullmatch(plain)
        if not found or (found[5] and not found[4]):
            raise ValueError
        digits = (found[5] or "").strip(".,").rstrip("0")
        if len(digits) > 6:
            raise ValueError
        zone = (found[7] or "").upper()
        if zone and zone != "Z" and int(zone[1:3]) > 15:
            raise ValueError
        if len(zone) > 3 and int(zone[-2:]) > 59:
            raise ValueError
        if found[2] and (int(found[3][:2]) > 23 or (found[4] and int(found[4][1:]) > 59)):
            raise ValueError
        whole = found[1] + ("T" + found[3] + (found[4] or ":00") if found[2] else "T00:00:00")
        if digits:
            whole += "." + digits.ljust(6, "0")
        moment = datetime.fromisoformat(whole + (zone or "Z"))
        return moment.astimezone(UTC)

    agree(caster(Column(name="c", type="timestamp")), texts, lambda t: _null_or(t, reference))


@SEVERAL
@given(
    st.lists(
        st.builds(
            lambda day, hour, minute: f"{day.isoformat()} {hour:02}:{minute:02}:00",
            st.sampled_from([date(2025, 3, 30), date(2025, 10, 26), date(2025, 7, 1)]),
            st.integers(0, 23),
            st.integers(0, 59),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_timestamp_in_a_zone(texts: list[str]) -> None:
    """An hour that was skipped or was there twice is refused; any other has the offset of its season."""

    def reference(text: str) -> datetime:
        local = datetime.fromisoformat(text)
        spring, autumn = datetime.fromisoformat("2025-03-30T02:00"), datetime.fromisoformat("2025-10-26T02:00")
        if spring <= local < spring + timedelta(hours=1) or autumn <= local < autumn + timedelta(hours=1):
            raise ValueError
        summer = spring <= local < autumn
        return (local - timedelta(hours=2 if summer else 1)).replace(tzinfo=UTC)

    agree(caster(Column(name="c", type="timestamp", timezone="Europe/Berlin")), texts, reference)


@SEVERAL
@given(
    soup(
        "0123456789abcdefABCDEF-{}urn:id",
        st.uuids().map(str),
        st.uuids().map(lambda u: u.hex),
        st.uuids().map(lambda u: f"{{{u}}}".upper()),
        st.uuids().map(lambda u: u.urn),
    )
)
def test_uuid(texts: list[str]) -> None:
    def reference(text: str) -> str:
        plain = stripped(text)
        shape = r"\{?(urn:uuid:)?[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}\}?"
        if not re.fullmatch(shape, plain, re.IGNORECASE) or plain.startswith("{") != plain.endswith("}"):
            raise ValueError
        return str(uuid.UUID(plain.strip("{}")))

    agree(caster(Column(name="c", type="uuid")), texts, lambda t: _null_or(t, reference))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
).map(json.dumps)


@SEVERAL
@given(st.lists(JSON | st.text(alphabet='{}[]",:0123456789.eE-+ntrufalse\\ \n', max_size=10), min_size=1, max_size=8))
def test_json(texts: list[str]) -> None:
    def reference(text: str) -> str:
        def refuse(token: str) -> None:
            raise ValueError(token)

        value = json.loads(text, parse_constant=refuse)
        json.dumps(value, ensure_ascii=False).encode()
        if "\0" in repr(value).replace("\\x00", "\0"):
            raise ValueError
        return text

    agree(caster(Column(name="c", type="json")), texts, reference)


@pytest.mark.parametrize(
    ("column", "text", "reason"),
    [
        (Column(name="c", type="int"), "1.5", "'1.5' is not an int"),
        (
            Column(name="c", type="int"),
            "99999999999999999999",
            "'99999999999999999999' is out of the range of a bigint",
        ),
        (Column(name="c", type="int", nullable=False), "", "missing value in a column that is not nullable"),
        (Column(name="c", type="int", min=3), "2", "'2' is below min, 3"),
        (Column(name="c", type="int", max=3), "4", "'4' is above max, 3"),
        (Column(name="c", type="date", min="2025-01-01"), "2024-12-31", "'2024-12-31' is below min, 2025-01-01"),
        (Column(name="c", choices=("a", "b")), "c", "'c' is not one of a, b"),
        (Column(name="c", type="int", choices=(1, 2)), "3", "'3' is not one of 1, 2"),
        (Column(name="c", max_length=2), "abc", "'abc' has 3 characters, 2 are allowed"),
        (Column(name="c", pattern="[A-Z]{2}"), "ABC", "'ABC' does not match the pattern [A-Z]{2}"),
        (Column(name="c"), "a\0b", "has a NUL character, which PostgreSQL can't store"),
        (Column(name="c", type="float"), "nan", "'nan' is not finite, and the column says finite: true"),
        (Column(name="c", type="float", finite=False, max=3), "nan", "'nan' is above max, 3"),
        (
            Column(name="c", type="bool"),
            "maybe",
            "'maybe' is not a bool: use one of false, f, no, n, 0, true, t, yes, y, 1",
        ),
        (Column(name="c", type="date"), "2025-02-30", "'2025-02-30' is not a day of the calendar"),
        (Column(name="c", type="json"), '{"a":}', "is not JSON that jsonb takes"),
        (Column(name="c", type="json"), '"\\u0000"', "u0000 or half a surrogate pair"),
        (Column(name="c", personal=True, max_length=2), "secret", "*** (too long)"),
    ],
)
def test_a_reason_is_precise(column: Column, text: str, reason: str) -> None:
    made = caster(column)
    cast = made.cast(pl.DataFrame({"c": [text]}, schema={"c": pl.String}), pl.int_range(1, eager=True))
    assert cast.frame.height == 0
    ((index, (only,)),) = cast.rejected
    assert index == 0
    assert reason in only.message
    if column.min is not None or column.max is not None:
        assert cast_all(made, ["3"] if column.type in ("int", "float") else ["2025-01-01"]) != [REFUSED]


def test_null_tokens_and_defaults() -> None:
    made = caster(Column(name="c", type="int", default=7), null_tokens=("NULL", "-1"))
    assert cast_all(made, ["NULL", "-1", " NULL ", "5", None, ""]) == [7, 7, 7, 5, 7, REFUSED]
    text = caster(Column(name="c"), null_tokens=("NULL",))
    assert cast_all(text, ["NULL", "", " NULL", None]) == [None, "", " NULL", None]


def test_every_fault_of_a_row_is_kept() -> None:
    columns = (Column(name="a", type="int"), Column(name="b", type="date"), Column(name="c", nullable=False))
    dataset = Dataset(name="d", table="d", source="d.csv", columns=columns, mode="append")
    raw = pl.DataFrame({"a": ["x", "1"], "b": ["y", "2025-01-01"], "c": ["", "z"]})
    cast = Caster(Rules(dataset)).cast(raw, pl.int_range(2, eager=True))
    assert [(reason.column, reason.code) for reason in cast.rejected[0][1]] == [
        ("a", "not an int"),
        ("b", "not a date"),
        ("c", "missing value"),
    ]
    assert cast.frame.rows() == [(1, date(2025, 1, 1), "z", 1)]
