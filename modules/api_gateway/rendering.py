"""Rows as bytes: JSON for a page, CSV and NDJSON also piece by piece."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from modules.api_gateway.negotiation import CSV, JSON
from modules.api_gateway.query import Query
from modules.api_gateway.statement import Form

Values = Sequence[str | None]
"""Of one row, as the statement gave them."""

_QUOTED = frozenset('",\r\n')


def form_of(accepted: str) -> Form:
    """What the server makes of a row, for this form."""
    return "text" if accepted == CSV else "json"


def media_type(accepted: str) -> str:
    """What an answer says of itself."""
    return "text/csv; charset=utf-8; header=present" if accepted == CSV else accepted


def width_of(accepted: str, query: Query) -> int:
    """How many of a row's values are shown; the others are those that it is sorted by."""
    return len(query.fields) if accepted == CSV else 1


def head(accepted: str, query: Query) -> bytes:
    """What comes before the first row."""
    return _line([field.name for field in query.fields]) if accepted == CSV else b""


def lines(accepted: str, rows: Iterable[Values]) -> bytes:
    """Rows of CSV or NDJSON, a line each."""
    if accepted == CSV:
        return b"".join(map(_line, rows))
    return "".join(f"{row[0]}\n" for row in rows).encode()


def page(accepted: str, query: Query, rows: Sequence[Values], cursor: str | None) -> bytes:
    """All rows of a page; JSON also has the cursor of the next one."""
    if accepted != JSON:
        return head(accepted, query) + lines(accepted, rows)
    told = f'"{cursor}"' if cursor else "null"
    return f'{{"data":[{",".join(str(row[0]) for row in rows)}],"next":{told}}}'.encode()


def single(accepted: str, query: Query, row: Values) -> bytes:
    """One row."""
    return str(row[0]).encode() if accepted == JSON else page(accepted, query, [row], None)


def tag_of(body: bytes, cursor: str | None = None) -> str:
    """A strong ETag: other bytes, or another page behind them, another tag."""
    return f'"{hashlib.blake2b(body + (cursor or "").encode(), digest_size=16).hexdigest()}"'


def matches(given: str, tag: str) -> bool:
    """Whether an `If-None-Match` names this tag (RFC 9110, section 13.1.2: compared weakly)."""
    return any(one.strip().removeprefix("W/") in (tag, "*") for one in given.split(","))


def _line(values: Values) -> bytes:
    """RFC 4180; null is nothing, and a text without a character is quoted, so that the two can be told."""
    return (",".join(map(_cell, values)) + "\r\n").encode()


def _cell(value: str | None) -> str:
    if value is None:
        return ""
    if value and _QUOTED.isdisjoint(value):
        return value
    return '"' + value.replace('"', '""') + '"'
