"""Many messages from a job: what a file, or another topic, has to give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from contracts.ports.database import Tx


class Outgoing(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A message, as it is, whose source is known by itself: a row, or another message.

    Its id derives from `source_id`, the kind of the job and where it goes, and from nothing else: whoever makes it
    again, and whenever, makes the same message. While one waits for the bus its like is not added again, unless it has
    another `place`: then both are sent, under one id. Without a correlation id it has that of the job.
    """

    source_id: str
    body: bytes
    place: str = ""
    key: str | None = None
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    correlation_id: str = ""
    not_before: datetime | None = None
    priority: int = 0


class Feed(Protocol):
    """Of one run of a job, through the outbox, where each address has one order: everything that is fed to it leaves as
    it was added, whatever its key. What is emitted (`Emit`) is ordered by itself, and by key only."""

    async def add(self, address: str, messages: Sequence[Outgoing], *, tx: Tx) -> None:
        """They are sent if `tx`, a transaction of the job's `Db`, commits. The header `source-id` says what each comes
        of."""
        ...

    async def waiting(self) -> int:
        """Of what this run has added and committed, how many may still wait for the bus: so it can let them leave
        before it adds more, or ends. Ask outside of transactions."""
        ...
