"""Entries of a stream as envelopes, and the other way."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from adapters.bus.wire import CORRELATION, from_wire, key_bytes, key_text, origin_of, to_headers
from contracts.message import Envelope

BODY = b"body"
KEY = b"key"
HEADER = b"h:"
BODY_NAMES = (BODY, b"data", b"__data__", b"payload")
"""Where a producer that is not ours may have put the payload; the first that is there is taken."""

_FASTSTREAM = b"\x89BIN\r\n\x1a\n"  # what FastStream's own publishers begin `__data__` with
_ID = b"h:message-id"


def fields_of(envelope: Envelope) -> list[str | bytes]:
    """Names and values for XADD: `body`, `key` where there is one, and each header as `h:name`."""
    fields: list[str | bytes] = [BODY, envelope.body]
    if envelope.key is not None:
        fields += (KEY, key_bytes(envelope.key) or b"")
    for name, value in to_headers(envelope):
        fields += (f"h:{name}".encode(errors="replace"), value)
    return fields


def envelope_of(address: str, stream: str, entry_id: bytes, flat: list[bytes]) -> Envelope:
    """Whatever lies in the stream as an envelope; never fails, since it may come from anything.

    The payload is the field `body`, or `data`, `__data__` or `payload`; or the only field, whatever its name; or all
    fields as one JSON object of texts. Beside a payload `key` is the message's key, and every other field is a header,
    with `h:` before its name or without.
    """
    pairs = iter(flat)
    fields = dict(zip(pairs, pairs, strict=False))
    body = fields.pop(BODY, None)
    if body is None or _ID not in fields:
        return _foreign(address, stream, entry_id, fields, body)
    key = fields.pop(KEY, None)
    headers = [(name.removeprefix(HEADER).decode(errors="replace"), value) for name, value in fields.items()]
    envelope = from_wire(address, body, key=key_text(key), headers=headers, origin="", stored_ms=-1)
    if envelope.id and envelope.published_at is not None:
        return envelope
    if key is not None:
        fields[KEY] = key
    return _foreign(address, stream, entry_id, fields, body)


def _foreign(address: str, stream: str, entry_id: bytes, fields: dict[bytes, bytes], body: bytes | None) -> Envelope:
    headers: list[tuple[str, bytes | str | None]] = []
    if body is None:
        body = next((fields.pop(name) for name in BODY_NAMES if name in fields), None)
    if body is None and len(fields) == 1:
        _, body = fields.popitem()
    if body is None:
        body = msgspec.json.encode({_text(name): _text(value) for name, value in fields.items()})
        fields = {}
    if body.startswith(_FASTSTREAM):
        body, native = _native(body)
        headers += native.items()
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
