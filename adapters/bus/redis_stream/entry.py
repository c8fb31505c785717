"""Entries of a stream as envelopes, and the other way."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from adapters.bus.wire import (
    CORRELATION,
    ID,
    NOT_BEFORE,
    PUBLISHED_AT,
    from_wire,
    key_bytes,
    key_text,
    origin_of,
    parsed,
    to_headers,
)
from contracts.message import CORRELATION_ID, Envelope

Fields = tuple[bytes, ...]
"""Names and values in turn, as they lie in the stream."""

BODY = b"body"
DATA = b"data"
KEY = b"key"
HEADER = b"h:"
FASTSTREAM_NAME = b"__data__"
BODY_NAMES = (BODY, DATA, FASTSTREAM_NAME, b"payload")
"""Where a producer that is not ours may have put the payload; the first that is there is taken."""

_FASTSTREAM = b"\x89BIN\r\n\x1a\n"  # what FastStream's own publishers begin `__data__` with
FIRST = (ID, CORRELATION, PUBLISHED_AT)
_OURS = (BODY, *(HEADER + name.encode() for name in FIRST))
_KEYED = (*_OURS, KEY)
_HOUR = (NOT_BEFORE.encode(), HEADER + NOT_BEFORE.encode())
_safe = CORRELATION_ID.fullmatch


def fields_of(envelope: Envelope) -> list[str | bytes]:
    """Names and values for XADD: `body`, each header as `h:name`, and `key` where there is one."""
    ours: list[str | bytes] = [BODY, envelope.body]
    others: list[str | bytes] = []
    for name, value in to_headers(envelope):
        (ours if name in FIRST else others).extend((f"h:{name}".encode(errors="replace"), value))
    if envelope.key is not None:
        ours += (KEY, key_bytes(envelope.key) or b"")
    return ours + others


def body_of(fields: Fields) -> bytes | None:
    """The payload where that can be said at a glance; the same as of `envelope_of`."""
    if not fields:
        return None
    if fields[0] == BODY:
        return fields[1]
    if len(fields) == 2:
        return None if fields[1].startswith(_FASTSTREAM) else fields[1]
    if fields[0] == DATA:
        names = fields[::2]
        return None if BODY in names or FASTSTREAM_NAME in names else fields[1]
    return None


def key_of(fields: Fields) -> bytes | None:
    """The message's own key where it can be seen at a glance; None does not say that it has none."""
    if fields and fields[0] in (BODY, DATA):
        names = fields[::2]
        return fields[2 * names.index(KEY) + 1] if KEY in names else None
    return None


def says_not_before(fields: Fields) -> bool:
    """Whether it may bring an hour before which it is not to be handled."""
    names = fields[::2]
    if names == _KEYED:
        return False
    return _HOUR[0] in names or _HOUR[1] in names or FASTSTREAM_NAME in names


def envelope_of(address: str, stream: str, entry_id: bytes, flat: Fields) -> Envelope:
    """Whatever lies in the stream as an envelope; never fails, since it may come from anything.

    The payload is the field `body`, or `data`, `__data__` or `payload`; or the only field, whatever its name; or all
    fields as one JSON object of texts. Beside a payload `key` is the message's key, and every other field is a header,
    with `h:` before its name or without.
    """
    if flat[0:8:2] == _OURS:  # as `fields_of` writes it: the same as below, in less than half of the time
        identity, correlation = flat[3].decode("utf-8", "replace"), flat[5].decode("utf-8", "replace")
        published_at = parsed(flat[7].decode("utf-8", "replace"))
        count = len(flat)
        keyed = count > 8 and flat[8] == KEY
        if published_at is not None and count == 8 + 2 * keyed and _safe(identity) and _safe(correlation):
            return Envelope(
                id=identity,
                address=address,
                body=flat[1],
                key=key_text(flat[9]) if keyed else None,
                correlation_id=correlation,
                published_at=published_at,
            )
    fields: dict[bytes, bytes] = {}
    for name, value in zip(flat[::2], flat[1::2], strict=True):
        fields.setdefault(name, value)  # the first of two counts
    headers: list[tuple[str, bytes | str | None]] = []
    if fields.get(FASTSTREAM_NAME, b"").startswith(_FASTSTREAM) and BODY not in fields:
        body, native = _native(fields.pop(FASTSTREAM_NAME))
        headers += native.items()
    elif found := next((name for name in BODY_NAMES if name in fields), None):
        body = fields.pop(found)
    elif len(fields) == 1:
        _, body = fields.popitem()
    else:
        body = msgspec.json.encode({_text(name): _text(value) for name, value in fields.items()})
        fields.clear()
    key = fields.pop(KEY, None)
    headers += [(_text(name.removeprefix(HEADER)), value) for name, value in fields.items()]
    place = entry_id.decode()
    return from_wire(
        address,
        body,
        key=key_text(key),
        headers=headers,
        origin=origin_of(stream, place),
        stored_ms=int(place.partition("-")[0]),
    )


def _native(data: bytes) -> tuple[bytes, Mapping[str, str]]:
    from faststream.redis.parser import BinaryMessageFormatV1

    body, headers = BinaryMessageFormatV1.parse(data)
    if given := headers.pop("correlation_id", None):
        headers.setdefault(CORRELATION, given)
    return body, headers


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
