"""One text to one value, exactly, or the reason why not: what the vectorised caster falls back to and agrees with.

Values of every type but text and json may have spaces and tabs around them. Nothing is rounded unless the column
says so. What each type takes:

    int        an optional sign and digits, within bigint
    float      decimal notation with an optional exponent; NaN and infinities only with `finite: false`
    decimal    the same, exactly representable in the declared precision and scale
    bool       the declared tokens, in any case
    date       2025-01-31, or the declared format
    timestamp  2025-01-31T12:00[:00[.000000]] with T or a space, then Z, +01:00, +0100, +01 or nothing; a date alone
               is its midnight; or the declared format. Kept as UTC, to the microsecond
    json       what jsonb takes
    uuid       with or without dashes, in any case, in braces or after urn:uuid:
    text       anything but NUL
"""

from __future__ import annotations

import json
import re
import zoneinfo
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from typing import Any

import msgspec

from contracts.dataset import Column

Cast = Callable[[str], Any]

SPACE = " \t"
BIGINT = (-(2**63), 2**63 - 1)
SHOWN = 60
"""How many characters of a wrong value a message shows."""

_INT = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,5})?")
_SPECIAL = re.compile(r"(?:[+-]?(?:inf|infinity)|nan)", re.IGNORECASE)
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_TIMESTAMP = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]{1,12}))?)?"
    r"(?: ?([Zz]|[+-][0-9]{2}(?::?[0-9]{2})?))?)?"
)
_UUID = re.compile(
    r"(?:urn:uuid:)?([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})", re.IGNORECASE
)
_JSON_DANGER = re.compile(r"\\u(?:0000|[dD][89a-fA-F])|[eE][+-]?0*[0-9]{4}|[0-9]{10000}")
_JSONB_REFUSED = re.compile("[\0\ud800-\udfff]")
_EXACT = Context(prec=400)


class Wrong(Exception):
    """The text is not a value of the column. `code` groups, `message` explains (and shows the value)."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def shown(text: str) -> str:
    """A value as a message shows it: quoted, and cut."""
    return repr(text) if len(text) <= SHOWN else f"{text[:SHOWN]!r}… ({len(text)} characters)"


def caster(column: Column, *, decimal_mark: str = ".") -> Cast:
    """The function that turns a text of this column into its value, or raises `Wrong`."""
    match column.type:
        case "int":
            return _int
        case "float":
            return lambda text: _float(text, column, decimal_mark)
        case "decimal":
            return lambda text: _decimal(text, column, decimal_mark)
        case "bool":
            tokens = {token.lower(): False for token in column.false_tokens}
            tokens |= {token.lower(): True for token in column.true_tokens}
            return lambda text: _bool(text, tokens)
        case "date":
            return lambda text: _date(text, column.format)
        case "timestamp":
            zone = zoneinfo.ZoneInfo(column.timezone)
            return lambda text: _timestamp(text, column, zone)
        case "json":
            return _json
        case "uuid":
            return _uuid
        case "text":
            return _text


def _int(text: str) -> int:
    plain = text.strip(SPACE)
    if not _INT.fullmatch(plain):
        raise Wrong("not an int", f"{shown(text)} is not an int")
    if len(plain.lstrip("+-0")) > 19 or not BIGINT[0] <= (value := int(plain)) <= BIGINT[1]:
        raise Wrong("out of range", f"{shown(text)} is out of the range of a bigint")
    return value


def _point(text: str, decimal_mark: str) -> str:
    """The number with a point, or something that is no number."""
    plain = text.strip(SPACE)
    if decimal_mark == ".":
        return plain
    return "" if "." in plain else plain.replace(decimal_mark, ".")


def _float(text: str, column: Column, decimal_mark: str) -> float:
    plain = _point(text, decimal_mark)
    if _SPECIAL.fullmatch(plain):
        if column.finite:
            raise Wrong("not finite", f"{shown(text)} is not finite, and the column says finite: true")
        return float(plain)
    if not _NUMBER.fullmatch(plain):
        raise Wrong("not a float", f"{shown(text)} is not a float")
    value = float(plain)
    if value in (float("inf"), float("-inf")):
        raise Wrong("out of range", f"{shown(text)} is out of the range of a float")
    return value


def _decimal(text: str, column: Column, decimal_mark: str) -> Decimal:
    plain = _point(text, decimal_mark)
    if not _NUMBER.fullmatch(plain):
        raise Wrong("not a decimal", f"{shown(text)} is not a decimal")
    if len(plain) > 300:
        raise Wrong("too many digits", f"{shown(text)} has more digits than any decimal here")
    number = Decimal(plain)
    digits = column.precision - column.scale
    if number and number.adjusted() >= digits:
        raise Wrong("too many digits", f"{shown(text)} has more than {digits} digits before the point")
    rounded = _quantized(number, column.scale)
    if rounded != number and column.rounding == "refuse":
        raise Wrong("too many digits", f"{shown(text)} has more than {column.scale} digits after the point")
    if rounded and rounded.adjusted() >= digits:
        raise Wrong("too many digits", f"{shown(text)} rounds to more than {digits} digits before the point")
    return rounded


def _quantized(number: Decimal, scale: int) -> Decimal:
    try:
        rounded = number.quantize(Decimal(1).scaleb(-scale), rounding=ROUND_HALF_UP, context=_EXACT)
    except InvalidOperation:  # so small that even the context's digits do not reach it
        return Decimal(0).scaleb(-scale)
    return rounded if rounded else abs(rounded)


def _bool(text: str, tokens: dict[str, bool]) -> bool:
    value = tokens.get(text.strip(SPACE).lower())
    if value is None:
        raise Wrong("not a bool", f"{shown(text)} is not a bool: use one of {', '.join(tokens)}")
    return value


def _day(text: str, plain: str) -> date:
    found = _DATE.fullmatch(plain)
    if found is None:
        raise Wrong("not a date", f"{shown(text)} is not a date like 2025-01-31")
    try:
        return date(*map(int, found.groups()))
    except ValueError:
        raise Wrong("not a date", f"{shown(text)} is not a day of the calendar") from None


def _date(text: str, form: str | None) -> date:
    plain = text.strip(SPACE)
    if form is None:
        return _day(text, plain)
    try:
        return datetime.strptime(plain, form).date()  # noqa: DTZ007 - a day has no zone
    except ValueError:
        raise Wrong("not a date", f"{shown(text)} is not a date of the form {form}") from None


def _timestamp(text: str, column: Column, zone: zoneinfo.ZoneInfo) -> datetime:
    plain = text.strip(SPACE)
    if column.format is not None:
        try:
            local = datetime.strptime(plain, column.format)  # noqa: DTZ007 - the zone is set below
        except ValueError:
            raise Wrong("not a timestamp", f"{shown(text)} is not a timestamp of the form {column.format}") from None
        return _to_utc(text, local, zone)
    found = _TIMESTAMP.fullmatch(plain)
    if found is None:
        raise Wrong("not a timestamp", f"{shown(text)} is not a timestamp like 2025-01-31T12:00:00Z")
    day, hour, minute, second, fraction, offset = found.groups()
    digits = (fraction or "").rstrip("0")
    if len(digits) > 6 and column.rounding == "refuse":
        raise Wrong("too many digits", f"{shown(text)} is finer than a microsecond")
    try:
        local = datetime.combine(_day(text, day), datetime.min.time()).replace(
            hour=int(hour or 0), minute=int(minute or 0), second=int(second or 0), tzinfo=_offset(offset)
        )
        local += timedelta(microseconds=int(Decimal(f"0.{digits or 0}").scaleb(6).quantize(Decimal(1), ROUND_HALF_UP)))
    except (ValueError, OverflowError):
        raise Wrong("not a timestamp", f"{shown(text)} is not a time of the day") from None
    return _to_utc(text, local, zone)


def _offset(text: str | None) -> timezone | None:
    if text is None:
        return None
    if text in "Zz":
        return UTC
    hours, minutes = int(text[1:3]), int(text[3:].lstrip(":") or 0)
    if hours > 15 or minutes > 59:  # what PostgreSQL takes
        raise ValueError(text)
    return timezone((-1 if text[0] == "-" else 1) * timedelta(hours=hours, minutes=minutes))


def _to_utc(text: str, local: datetime, zone: zoneinfo.ZoneInfo) -> datetime:
    try:
        if local.tzinfo is not None:
            return local.astimezone(UTC)
        early, late = local.replace(tzinfo=zone, fold=0), local.replace(tzinfo=zone, fold=1)
        moment = early.astimezone(UTC)
        if early.utcoffset() != late.utcoffset():
            skipped = moment.astimezone(zone).replace(tzinfo=None) != local
            why = "was skipped" if skipped else "was there twice"
            raise Wrong(
                "not a timestamp", f"{shown(text)} {why} in {zone.key} when the clocks changed: give it an offset"
            )
        return moment
    except OverflowError:
        raise Wrong("out of range", f"{shown(text)} is outside of the years 1 to 9999 in UTC") from None


def _json(text: str) -> str:
    if "\0" in text:
        raise Wrong("NUL", "has a NUL character, which PostgreSQL can't store")
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
        if _JSON_DANGER.search(text):
            _within_jsonb(json.loads(text, parse_float=_numeric, parse_int=_numeric))
    except RecursionError:
        raise Wrong("not json", f"{shown(text)} is nested too deeply") from None
    except (msgspec.DecodeError, ValueError, ArithmeticError) as error:
        raise Wrong("not json", f"{shown(text)} is not JSON that jsonb takes: {error}") from None
    return text


def _within_jsonb(value: Any) -> None:
    """Refuse what is JSON but not jsonb: \\u0000 and half a surrogate pair."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += item.keys()
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
        elif isinstance(item, str) and _JSONB_REFUSED.search(item):
            raise ValueError("\\u0000 or half a surrogate pair")


def _numeric(text: str) -> Decimal:
    number = Decimal(text)
    exponent = number.as_tuple().exponent
    if number.adjusted() > 130_000 or not isinstance(exponent, int) or exponent < -16_000:
        raise ArithmeticError("a number beyond numeric")
    return number


def _uuid(text: str) -> str:
    plain = text.strip(SPACE)
    if plain.startswith("{") and plain.endswith("}"):
        plain = plain[1:-1]
    found = _UUID.fullmatch(plain)
    if found is None:
        raise Wrong("not a uuid", f"{shown(text)} is not a uuid")
    return "-".join(found.groups()).lower()


def _text(text: str) -> str:
    if "\0" in text:
        raise Wrong("NUL", "has a NUL character, which PostgreSQL can't store")
    return text
