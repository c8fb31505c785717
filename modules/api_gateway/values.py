"""The types of columns: how a value of each is written in a URL, checked, compared and described.

A value goes to the server as text and is cast there, so that what it compares with keeps the column's own meaning and
its indexes. It is checked here first: a fault of the URL must be told as one, with all others.
"""

from __future__ import annotations

import re
import struct
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any

import msgspec

LONGEST = 1000
"""Characters of a value in a URL."""
_DECIMAL = re.compile(r"[+-]?(\d{1,1000}(\.\d{0,1000})?|\.\d{1,1000})|NaN|-?Infinity", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_ENDLESS = ("infinity", "-infinity")


class Type(msgspec.Struct, frozen=True, kw_only=True):
    """`sql` is what a value is cast to, `take` gives its text as the server takes it, or raises `ValueError`; without
    one it can be neither asked for nor sorted by. `ordered` types are compared by more than being the same. `endless`
    are its values that the schema's own form hasn't, and that are texts in JSON."""

    name: str
    schema: Mapping[str, Any]
    sql: str = ""
    take: Callable[[str], str] | None = None
    ordered: bool = False
    allowed: str = ""
    endless: tuple[str, ...] = ()


def _int(text: str) -> str:
    if not _WHOLE.fullmatch(text) or not -(1 << 63) <= int(text) < 1 << 63:
        raise ValueError
    return str(int(text))


def _decimal(text: str) -> str:
    if not _DECIMAL.fullmatch(text):
        raise ValueError
    return text


def _float(text: str) -> str:
    return repr(float(text))


def _real(text: str) -> str:
    try:
        return repr(struct.unpack("<f", struct.pack("<f", float(text)))[0])
    except OverflowError:
        raise ValueError from None


def _bool(text: str) -> str:
    if text not in ("true", "false"):
        raise ValueError
    return text


def _date(text: str) -> str:
    if text in _ENDLESS:
        return text
    if not _DAY.fullmatch(text):
        raise ValueError
    return date.fromisoformat(text).isoformat()


def _timestamp(text: str) -> str:
    # In UTC: the server knows no offsets as great as some are here.
    return text if text in _ENDLESS else _instant(text, with_offset=True).astimezone(UTC).isoformat()


def _local(text: str) -> str:
    return text if text in _ENDLESS else _instant(text, with_offset=False).isoformat()


def _instant(text: str, *, with_offset: bool) -> datetime:
    if not _DAY.match(text):
        raise ValueError
    at = datetime.fromisoformat(text)
    if (at.tzinfo is not None) != with_offset:
        raise ValueError
    return at


def _uuid(text: str) -> str:
    return str(uuid.UUID(text))


def _text(text: str) -> str:
    if "\0" in text:
        raise ValueError
    return text


TEXT = Type(name="text", schema={"type": "string"}, sql="text", take=_text, ordered=True, allowed="any text")
JSON = Type(name="json", schema={})
OTHER = Type(name="other", schema={})
"""Whatever JSON PostgreSQL makes of it: it can be seen only."""
_FLOATS: Mapping[str, Any] = {
    "ordered": True,
    "allowed": "a number such as 1.5",
    "schema": {"type": "number"},
    "endless": ("NaN", "Infinity", "-Infinity"),
}
_INT = Type(
    name="int", schema={"type": "integer"}, sql="bigint", take=_int, ordered=True, allowed="a whole number of 64 bits"
)
_WITH_OFFSET = "an instant with its offset, such as 2026-01-15T08:00:00Z (a + is written %2B in a URL)"

BY_TYPE: Mapping[str, Type] = {
    **dict.fromkeys(("int2", "int4", "int8"), _INT),
    "float4": Type(name="real", sql="real", take=_real, **_FLOATS),
    "float8": Type(name="float", sql="double precision", take=_float, **_FLOATS),
    "numeric": Type(name="decimal", sql="numeric", take=_decimal, **_FLOATS),
    "bool": Type(name="bool", schema={"type": "boolean"}, sql="boolean", take=_bool, allowed="true or false"),
    "date": Type(
        name="date",
        schema={"type": "string", "format": "date"},
        sql="date",
        take=_date,
        ordered=True,
        allowed="a date such as 2026-01-15",
        endless=_ENDLESS,
    ),
    "timestamptz": Type(
        name="timestamp",
        schema={"type": "string", "format": "date-time"},
        sql="timestamp with time zone",
        take=_timestamp,
        ordered=True,
        allowed=_WITH_OFFSET,
        endless=_ENDLESS,
    ),
    "timestamp": Type(
        name="local timestamp",
        schema={"type": "string"},
        sql="timestamp without time zone",
        take=_local,
        ordered=True,
        allowed="a time without an offset, such as 2026-01-15T08:00:00",
    ),
    "uuid": Type(
        name="uuid", schema={"type": "string", "format": "uuid"}, sql="uuid", take=_uuid, allowed="a UUID", ordered=True
    ),
    **dict.fromkeys(("text", "varchar"), TEXT),
    **dict.fromkeys(("json", "jsonb"), JSON),
}
"""By PostgreSQL's own names of types; a domain counts as what it stands on."""


def type_of(name: str) -> Type:
    """The type of a column, by the name that PostgreSQL has for its type."""
    return BY_TYPE.get(name, OTHER)


def taken(type_: Type, text: str, *, longest: int = LONGEST) -> str:
    """The value as the server takes it; raises `ValueError` with what is allowed instead."""
    if type_.take is None:
        raise ValueError("it can be seen, but not asked for or sorted by")
    if len(text) > longest:
        raise ValueError(f"has {len(text)} characters; at most {longest} are allowed")
    try:
        return type_.take(text)
    except (ValueError, OverflowError):
        raise ValueError(f"allowed is {type_.allowed}") from None
