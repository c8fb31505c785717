"""A message on the wire, the same on every bus that has one: body and key as they are, the rest in headers.

`message-id`, `correlation-id`, `published-at` (RFC 3339), `not-before` and `priority` (absent when 0) stand beside the
user's own headers, which can't have these names. A producer that is not ours may leave all of them out: what is not
said is taken from CloudEvents' headers in binary mode (`ce_id`, `ce_time`, `ce_partitionkey`; with `-` too), then from
the place where the message lies, so that it has the same id each time it is delivered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta

from contracts.message import CORRELATION_ID, Envelope

ID = "message-id"
CORRELATION = "correlation-id"
PUBLISHED_AT = "published-at"
NOT_BEFORE = "not-before"
PRIORITY = "priority"
OURS = frozenset({ID, CORRELATION, PUBLISHED_AT, NOT_BEFORE, PRIORITY})

PRIORITY_MAX = 2**31 - 1
"""What the ledger's column holds; more is taken as this."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)

LONGEST_ID = 128
"""As `CORRELATION_ID` says."""

_safe = CORRELATION_ID.fullmatch


def to_headers(envelope: Envelope) -> list[tuple[str, bytes]]:
    """All of the envelope but its address, key and body; never fails, whatever text is in it."""
    headers = [(name, value.encode(errors="replace")) for name, value in envelope.headers.items() if name not in OURS]
    headers.append((ID, envelope.id.encode(errors="replace")))
    headers.append((CORRELATION, envelope.correlation_id.encode(errors="replace")))
    if envelope.published_at is not None:
        headers.append((PUBLISHED_AT, rfc3339(envelope.published_at)))
    if envelope.not_before is not None:
        headers.append((NOT_BEFORE, rfc3339(envelope.not_before)))
    if envelope.priority:
        headers.append((PRIORITY, str(envelope.priority).encode()))
    return headers


def from_wire(
    address: str,
    body: bytes,
    *,
    key: str | None,
    headers: Collection[tuple[str, bytes | str | None]],
    origin: str,
    stored_ms: int,
) -> Envelope:
    """The envelope of what lies on the bus; never fails, since it may come from anything.

    `origin` names its place (see `origin_of`) and is its id when it brings none; `stored_ms` is when the bus, or the
    producer's clock, says that it was written (negative: unknown).
    """
    if not headers:
        return Envelope(
            id=origin, address=address, body=body, key=key, correlation_id=origin, published_at=instant(stored_ms)
        )
    said = {name: _text(value) for name, value in headers if value is not None}
    identity = said.pop(ID, "")
    if not _safe(identity):
        identity = _foreign_id(said, origin)
    correlation = said.pop(CORRELATION, "")
    published = said.pop(PUBLISHED_AT, None) or said.get("ce_time") or said.get("ce-time")
    not_before = said.pop(NOT_BEFORE, None)
    priority = said.pop(PRIORITY, None)
    if key is None:
        key = said.get("ce_partitionkey", said.get("ce-partitionkey"))
    return Envelope(
        id=identity,
        address=address,
        body=body,
        key=key,
        headers=said,
        correlation_id=correlation if _safe(correlation) else identity,
        published_at=(parsed(published) if published else None) or instant(stored_ms),
        not_before=parsed(not_before) if not_before else None,
        priority=_number(priority) if priority else 0,
    )


def says_not_before(headers: Collection[tuple[str, bytes | str | None]]) -> bool:
    """Whether a message brings an hour before which it is not to be handled."""
    return NOT_BEFORE in [name for name, _ in headers]


def origin_of(address: str, place: str, *, longest: int = LONGEST_ID) -> str:
    """Where a message lies, as an id that is safe in logs; `place` must differ for an address that was made anew."""
    origin = f"{address}:{place}"
    if len(origin) <= longest and _safe(origin):
        return origin
    return hashlib.sha256(origin.encode(errors="surrogatepass")).hexdigest()


def key_text(key: bytes | None) -> str | None:
    """A key is any bytes: those that are not UTF-8 are written as `\\xff`, so that keys that differ stay different."""
    return None if key is None else key.decode(errors="backslashreplace")


def key_bytes(key: str | None) -> bytes | None:
    """The other way; never fails."""
    return None if key is None else key.encode(errors="surrogatepass")


def rfc3339(at: datetime) -> bytes:
    """To the microsecond; an instant without a zone is UTC."""
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).isoformat().encode()


def parsed(text: str) -> datetime | None:
    """An RFC 3339 instant in UTC; None when it is something else, for what it says is nobody's to trust."""
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is UTC:
            return at
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def instant(ms: int) -> datetime | None:
    """Milliseconds since 1970; None for what is unknown or no instant at all."""
    if ms < 0:
        return None
    try:
        return datetime.fromtimestamp(ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def milliseconds(at: datetime) -> int:
    """The first whole millisecond since 1970 that is not before the instant."""
    return -((EPOCH - at) // MILLISECOND)


def _text(value: bytes | str) -> str:
    return value if value.__class__ is str else str(value, "utf-8", "replace")  # type: ignore[arg-type]


def _foreign_id(said: Mapping[str, str], origin: str) -> str:
    for name in ("ce_id", "ce-id", "message_id"):
        if (given := said.get(name)) and _safe(given):
            return given
    return origin


def _number(text: str) -> int:
    try:
        return max(-PRIORITY_MAX, min(PRIORITY_MAX, int(text[:32])))
    except ValueError:
        return 0
