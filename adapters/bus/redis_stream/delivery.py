"""An entry as a delivery, whose envelope is made when somebody asks for it."""

from __future__ import annotations

from datetime import datetime

import msgspec

from adapters.bus.redis_stream.entry import BODY, KEY, body_of, envelope_of, says_not_before
from adapters.bus.wire import key_text
from contracts.message import Envelope, Partition


class RedisDelivery(msgspec.Struct, eq=False, gc=False):
    """What a `Delivery` is, over the fields as they lie in the stream: a batch route needs bodies and keys only."""

    entry_id: bytes
    flat: list[bytes]
    stream: str
    partition: Partition
    position: int
    deliveries: int = 1
    made: Envelope | None = None

    @property
    def envelope(self) -> Envelope:
        """Made once."""
        if self.made is None:
            self.made = envelope_of(self.partition.address, self.stream, self.entry_id, self.flat)
        return self.made

    @property
    def body(self) -> bytes:
        """The payload."""
        found = body_of(self.flat)
        return self.envelope.body if found is None else found

    @property
    def key(self) -> str | None:
        """The message's own key."""
        flat = self.flat
        return key_text(flat[9]) if len(flat) > 8 and flat[8] == KEY and flat[0] == BODY else self.envelope.key

    @property
    def size_bytes(self) -> int:
        """What it weighs against bounds."""
        return len(self.body)

    @property
    def not_before(self) -> datetime | None:
        """Of most there is none, which costs no envelope to know."""
        return self.envelope.not_before if says_not_before(self.flat) else None
