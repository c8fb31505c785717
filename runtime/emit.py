"""Publishing from a handler: under ids that derive from the source, and together with its effects."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

import msgspec

from contracts.job import Claim
from contracts.message import Delivery, Envelope
from contracts.ports import Clock, Tx
from contracts.ports.outbox import Outbox

SOURCE_ID = "source-id"
"""The header of an emitted message that says which message, or which job, it comes of."""


Carried = Callable[[], Mapping[str, str]]
"""Headers that say what the message belongs to: its trace."""


class Stamp:
    """Makes the messages of one piece of work: those that it makes again at another attempt have the same ids, and
    different ones have different ids, so that whoever receives one twice can tell.

    `by` is who handles the source (two groups that emit for one message emit two messages). The ids of a job go by its
    checkpoint: the n-th message after it has the same id at every run that passes there.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        by: str,
        source_id: str,
        correlation_id: str,
        checkpoint: Callable[[], bytes | None] = lambda: None,
        carried: Carried | None = None,
    ) -> None:
        self._clock = clock
        self._carried = carried
        self._by = by
        self._source_id = source_id
        self._correlation_id = correlation_id
        self._checkpoint = checkpoint
        self._last: bytes | None = None
        self._point = ""
        self._counts: dict[str, int] = {}

    def envelope(
        self,
        address: str,
        message: msgspec.Struct,
        *,
        key: str | None,
        headers: Mapping[str, str] | None,
        after_s: float = 0.0,
    ) -> Envelope:
        """The next message."""
        point = self._point_now()
        count = self._counts[point] = self._counts.get(point, 0) + 1
        # Address and key are there so that what is emitted in another order has other ids: a repeat that isn't known
        # for one does less harm than a message that is taken for a repeat.
        named = msgspec.json.encode((self._by, self._source_id, point, count, address, key))
        now = self._clock.now()
        return Envelope(
            id=hashlib.sha256(named).hexdigest()[:32],
            address=address,
            body=msgspec.json.encode(message),
            key=key,
            headers={**(headers or {}), SOURCE_ID: self._source_id, **(self._carried() if self._carried else {})},
            correlation_id=self._correlation_id,
            published_at=now,
            not_before=now + timedelta(seconds=after_s) if after_s else None,
        )

    def _point_now(self) -> str:
        if (checkpoint := self._checkpoint()) is not self._last:
            self._last = checkpoint
            self._point = "" if checkpoint is None else _digest(checkpoint)
        return self._point


class CollectingEmitter:
    """Implements `contracts.ports.Emit` for one attempt at a message, or at a batch of `sources`: whoever made it adds
    what was `collected` to the outbox, in the transaction of the message."""

    def __init__(
        self,
        clock: Clock,
        *,
        source_id: str,
        correlation_id: str,
        by: str = "",
        sources: Sequence[Delivery] = (),
        carried: Carried | None = None,
    ) -> None:
        self._carried = carried
        self._clock = clock
        self._by = by
        self._sources = sources
        if sources:
            # Two batches can begin with one message (it was published twice) and go on with others.
            by = f"{by} {sources[0].partition.index} {sources[0].position}"
        self._stamp = Stamp(clock, by=by, source_id=source_id, correlation_id=correlation_id, carried=carried)
        self._stamps: dict[int, Stamp] = {}
        self._collected: list[Envelope] = []

    async def __call__(
        self,
        address: str,
        message: msgspec.Struct,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        after_s: float = 0.0,
        tx: Tx | None = None,
        of: int | None = None,
    ) -> str:
        stamp = self._stamp if of is None else self._stamps.get(of) or self._stamp_of(of)
        envelope = stamp.envelope(address, message, key=key, headers=headers, after_s=after_s)
        self._collected.append(envelope)
        return envelope.id

    def _stamp_of(self, place: int) -> Stamp:
        if not 0 <= place < len(self._sources):
            raise ValueError(f"of={place} is no place in a batch of {len(self._sources)} messages")
        source = self._sources[place].envelope
        stamp = Stamp(
            self._clock,
            by=self._by,
            source_id=source.id,
            correlation_id=source.correlation_id,
            carried=self._carried,
        )
        self._stamps[place] = stamp
        return stamp

    def collected(self) -> list[Envelope]:
        """All so far, in order."""
        return list(self._collected)


class JobEmitter:
    """Implements `contracts.ports.Emit` for one run of a job, by the outbox. `checkpoint` tells the last one saved."""

    def __init__(
        self,
        outbox: Outbox,
        clock: Clock,
        claim: Claim,
        *,
        checkpoint: Callable[[], bytes | None] | None = None,
        carried: Carried | None = None,
    ) -> None:
        self._outbox = outbox
        self._claim = claim
        self._stamp = Stamp(
            clock,
            by=claim.address,
            source_id=claim.id,
            correlation_id=claim.correlation_id,
            checkpoint=checkpoint or (lambda: claim.checkpoint),
            carried=carried,
        )

    async def __call__(
        self,
        address: str,
        message: msgspec.Struct,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        after_s: float = 0.0,
        tx: Tx | None = None,
        of: int | None = None,
    ) -> str:
        if of is not None:
            raise ValueError(f"of={of} is a place in a batch, and a job has none: leave it out")
        envelope = self._stamp.envelope(address, message, key=key, headers=headers, after_s=after_s)
        # A transaction of the job's own `Db` is fenced already.
        await self._outbox.add([envelope], tx=tx, claim=None if tx is not None else self._claim)
        return envelope.id


def _digest(checkpoint: bytes) -> str:
    """The same for the bytes that were saved and for those that the ledger gives back, which may be spaced and sorted
    otherwise."""
    canonical = msgspec.json.encode(msgspec.json.decode(checkpoint), order="deterministic")
    return hashlib.sha256(canonical).hexdigest()[:16]
