"""Many messages of one run of a job, under ids that derive from what each comes of."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping, Sequence

import msgspec

from contracts.job import Claim
from contracts.message import Envelope
from contracts.ports import Clock, Outgoing, Tx
from contracts.ports.outbox import Outbox
from runtime.emit import SOURCE_ID, Carried


class JobFeed:
    """Implements `contracts.ports.Feed` by the outbox. What is `carried` takes the place of what a message brings."""

    def __init__(self, outbox: Outbox, clock: Clock, claim: Claim, *, carried: Carried | None = None) -> None:
        self._carried = carried
        self._outbox = outbox
        self._clock = clock
        self._claim = claim
        self._unmarked = 0
        """How many were added since the outbox was last asked."""
        self._marked: deque[tuple[int, int]] = deque()
        """The last number in the outbox when it was asked, and how many had been added since the time before."""

    async def add(self, address: str, messages: Sequence[Outgoing], *, tx: Tx) -> None:
        carried = self._carried() if self._carried else {}
        envelopes = [self._envelope(address, message, carried) for message in messages]
        identities = [f"{made.id} {one.place}" for made, one in zip(envelopes, messages, strict=True)]
        await self._outbox.add(envelopes, tx=tx, identities=identities, lane=f"feed {address}")
        self._unmarked += len(envelopes)

    async def waiting(self) -> int:
        ends = await self._outbox.ends()
        first, last = ends or (1, 0)
        if self._unmarked:
            self._marked.append((last, self._unmarked))
            self._unmarked = 0
        while self._marked and (ends is None or self._marked[0][0] < first):
            self._marked.popleft()
        return sum(count for _, count in self._marked)

    def _envelope(self, address: str, message: Outgoing, carried: Mapping[str, str]) -> Envelope:
        named = msgspec.json.encode((self._claim.address, message.source_id, address))
        return Envelope(
            id=hashlib.sha256(named).hexdigest()[:32],
            address=address,
            body=message.body,
            key=message.key,
            headers={**message.headers, SOURCE_ID: message.source_id, **carried},
            correlation_id=message.correlation_id or self._claim.correlation_id,
            published_at=self._clock.now(),
            not_before=message.not_before,
            priority=message.priority,
        )
