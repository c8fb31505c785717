"""A record as a delivery; its envelope is made when somebody asks, for a batch needs the body alone."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec

from adapters.bus.wire import from_wire, key_text, origin_of, says_not_before
from contracts.message import Envelope, Partition


class KafkaDelivery(msgspec.Struct, eq=False, gc=False):
    """What a `Delivery` is, over aiokafka's record; an envelope at once would cost more than all else together."""

    raw: Any
    partition: Partition
    position: int
    deliveries: int = 1
    made: Envelope | None = None

    @property
    def body(self) -> bytes:
        """A tombstone has none."""
        return self.raw.value or b""

    @property
    def key(self) -> str | None:
        """The message's own key."""
        return self.envelope.key if self.raw.key is None else key_text(self.raw.key)

    @property
    def size_bytes(self) -> int:
        """What it weighs against bounds."""
        return len(self.raw.value or b"")

    @property
    def not_before(self) -> datetime | None:
        """Of most there is none, which costs no envelope to know."""
        headers = self.raw.headers
        return self.envelope.not_before if headers and says_not_before(headers) else None

    @property
    def envelope(self) -> Envelope:
        if self.made is None:
            self.made = envelope_of(self.raw, self.partition)
        return self.made


def envelope_of(raw: Any, partition: Partition) -> Envelope:
    """Never fails, whatever the record is."""
    key, stored_ms = raw.key, raw.timestamp
    return from_wire(
        partition.address,
        raw.value or b"",
        key=None if key is None else key_text(key),
        headers=raw.headers,
        # The time stands in the id because offsets begin again in a topic that was made anew.
        origin=f"{_origin(partition)}:{raw.offset}:{stored_ms}",
        stored_ms=stored_ms,
    )


@lru_cache(maxsize=10_000)
def _origin(partition: Partition) -> str:
    """Leaves room for the numbers that follow."""
    return origin_of(partition.address, f"{partition.index}", longest=80)
