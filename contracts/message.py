"""A message as a value, and a message with its place on the bus."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

import msgspec

CORRELATION_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
"""What an id from outside must match in full to be kept (it reaches logs and `application_name`)."""


class Contract(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """The root of all messages: immutable, by keyword, unknown fields refused."""


class Envelope(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One message: a value without a way to acknowledge it.

    `id` is the identity that deduplication goes by; `key` orders (messages with one key keep their order);
    `not_before` delays; `priority` is for jobs (higher first). `body` is the payload, JSON unless a header says so.
    """

    id: str
    address: str
    body: bytes
    key: str | None = None
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    correlation_id: str = ""
    published_at: datetime | None = None
    not_before: datetime | None = None
    priority: int = 0


class Partition(msgspec.Struct, frozen=True, order=True, gc=False):
    """The unit of ownership and order on every bus."""

    address: str
    index: int


class Delivery(msgspec.Struct, frozen=True, gc=False):
    """An envelope at a position of a partition; `deliveries` counts from 1."""

    envelope: Envelope
    partition: Partition
    position: int
    deliveries: int = 1

    @property
    def body(self) -> bytes:
        """The payload."""
        return self.envelope.body

    @property
    def key(self) -> str | None:
        """The message's own key."""
        return self.envelope.key

    @property
    def size_bytes(self) -> int:
        """What it weighs against bounds."""
        return len(self.envelope.body)

    @property
    def not_before(self) -> datetime | None:
        """The hour before which it is not to be handled."""
        return self.envelope.not_before
