"""Messages as an outbox keeps them, whatever it keeps them in."""

from __future__ import annotations

import zlib

import msgspec

from adapters.ledger import storable
from adapters.ledger.rank import bounded
from contracts.errors import BadInput
from contracts.message import Envelope

SHARDS = 8
"""Ranges of keys, each sent by one sender at a time. Written into the rows: another number needs an empty outbox."""
READ_BYTES = 8 * 1024 * 1024
"""What a sender has in hand at a time holds at most this many bytes of bodies, or one message."""


def kept(envelope: Envelope) -> Envelope:
    """As it can be kept. Raises `BadInput` where that would change what it says."""
    storable.name(envelope.id, what="message id")
    storable.name(envelope.address, what="address")
    if envelope.key is not None and storable.text(envelope.key) != envelope.key:
        raise BadInput(f"key {envelope.key[:80]!r} can't be kept: use UTF-8 without NUL characters")
    for said in (*envelope.headers, *envelope.headers.values()):
        if not said.isascii() and storable.text(said) != said:
            raise BadInput(f"header {said[:80]!r} can't be kept: use UTF-8")
    correlation_id = storable.cut(envelope.correlation_id, keep=storable.NAME_BYTES)
    if correlation_id == envelope.correlation_id and bounded(envelope.priority) == envelope.priority:
        return envelope
    return msgspec.structs.replace(envelope, correlation_id=correlation_id, priority=bounded(envelope.priority))


def shard_of(envelope: Envelope) -> int:
    """The same for all messages of one key, on every machine and at every version."""
    ordered_by = envelope.id if envelope.key is None else envelope.key
    return zlib.crc32(ordered_by.encode()) % SHARDS
