"""Messages as an outbox keeps them, whatever it keeps them in."""

from __future__ import annotations

import zlib

import msgspec

from contracts.errors import BadInput
from contracts.message import Envelope

SHARDS = 8
"""Ranges of keys, each sent by one sender at a time. Written into the rows: another number needs an empty outbox."""
READ_BYTES = 8 * 1024 * 1024
"""What a sender has in hand at a time has at most this many bytes, or is one message."""


def packed(envelope: Envelope) -> bytes:
    """Raises `BadInput` for what no bus could carry either."""
    try:
        return msgspec.msgpack.encode(envelope)
    except UnicodeEncodeError as error:
        raise BadInput(
            f"message {envelope.id[:80]!r} to {envelope.address[:80]!r} can't be kept: use texts in UTF-8 ({error})"
        ) from None


def shard_of(envelope: Envelope, lane: str | None = None) -> int:
    """The same for all messages of one lane, else of one key, on every machine and at every version."""
    ordered_by = lane or (envelope.id if envelope.key is None else envelope.key)
    return zlib.crc32(ordered_by.encode()) % SHARDS
