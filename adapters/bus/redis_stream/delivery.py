"""An entry as a delivery, whose envelope is made when somebody asks for it."""

from __future__ import annotations

from datetime import datetime

import msgspec

from adapters.bus.redis_stream.entry import Fields, body_of, envelope_of, key_of, says_not_before
from adapters.bus.wire import key_text
from contracts.message import Envelope, Partition


class RedisDelivery(msgspec.Struct, eq=False, gc=False):
    """What a `Delivery` is, over the fields as they lie in the stream: a batch route needs bodies only.

    What is asked for again and again is kept, so that it costs no call.
    """

    entry_id: bytes
    fields: Fields
    stream: str
    partition: Partition
    position: int
    deliveries: int
    body: bytes
    """The payload."""
    size_bytes: int
    """What it weighs against bounds."""
    made: Envelope | None = None

    @property
    def envelope(self) -> Envelope:
        """Made once."""
        if self.made is None:
            self.made = envelope_of(self.partition.address, self.stream, self.entry_id, self.fields)
        return self.made

    @property
    def key(self) -> str | None:
        """The message's own key."""
        found = key_of(self.fields)
        return self.envelope.key if found is None else key_text(found)

    @property
    def not_before(self) -> datetime | None:
        """Of most there is none, which costs no envelope to know."""
        return self.envelope.not_before if says_not_before(self.fields) else None


def delivery_of(
    entry_id: bytes, flat: list[bytes], stream: str, partition: Partition, position: int, deliveries: int = 1
) -> RedisDelivery:
    """Of any entry. Its fields become a tuple, since the garbage collector passes over tuples of bytes, but not over
    lists: with thousands of messages on their way it had a fifth of all the time."""
    fields = tuple(flat)
    made, body = None, body_of(fields)
    if body is None:
        made = envelope_of(partition.address, stream, entry_id, fields)
        body = made.body
    return RedisDelivery(entry_id, fields, stream, partition, position, deliveries, body, len(body), made)
