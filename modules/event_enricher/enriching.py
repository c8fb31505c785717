"""What becomes of each event of a batch: it is sent on with what was looked up, put aside, or sent to the side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.enrichment import Enrichment, Lookup, MissingReference
from contracts.event import Event, struct_of
from contracts.ports import Cache, Emit, Metrics
from contracts.ports.database import Queries
from modules.event_enricher.measures import EVENTS
from modules.event_enricher.references import References
from modules.event_enricher.sending import Sender

LONGEST_WAIT_S = 3600.0
NULL = msgspec.Raw(b"null")


def retry_address(enrichment: Enrichment) -> str:
    """Where events wait for the row that they refer to."""
    return f"enrich.retry.{enrichment.name}"


class Enricher:
    """Of one enrichment that looks something up."""

    def __init__(self, enrichment: Enrichment, lookup: Lookup, event: Event) -> None:
        self.references = References(enrichment, lookup, event)
        self.waiting = _waiting(event)
        self._enrichment = enrichment
        self._lookup = lookup
        self._nulls = (NULL,) * len(lookup.add)
        self._send = Sender(enrichment, event)

    async def enrich(
        self,
        events: Sequence[msgspec.Struct],
        *,
        db: Queries,
        cache: Cache,
        emit: Emit,
        metrics: Metrics,
        attempts: Sequence[int] | None = None,
    ) -> None:
        """`attempts`, of those that have waited, are the numbers of these."""
        keys = [getattr(event, self._lookup.field) for event in events]
        asked = {key for key in keys if key is not None}
        found = await self.references.of(asked, db=db, cache=cache, metrics=metrics, anew=attempts is not None)
        outcomes: Counter[str] = Counter()
        for at, (event, key) in enumerate(zip(events, keys, strict=True)):
            if (reference := found.get(key)) is not None:
                await self._send.on(at, event, reference, emit)
                outcomes["sent"] += 1
            else:
                attempt = 0 if key is None else attempts[at] if attempts else 1
                outcomes[await self._missing(at, event, attempt, emit)] += 1
        for outcome, count in outcomes.items():
            metrics.add(EVENTS, count, enrichment=self._enrichment.name, outcome=outcome)

    async def _missing(self, at: int, event: msgspec.Struct, attempt: int, emit: Emit) -> str:
        """`attempt` is 0 for an event that names no row: there is nothing to wait for."""
        declared = self._enrichment
        if declared.missing == "pass":
            await self._send.on(at, event, self._nulls, emit)
            return "sent"
        if declared.missing == "retry" and 1 <= attempt <= declared.retries:
            after_s = min(LONGEST_WAIT_S, declared.retry_s * 2.0 ** (attempt - 1))
            waiting = self.waiting(attempt=attempt + 1, event=event)
            await self._send.aside(retry_address(declared), at, waiting, event, emit, after_s=after_s)
            return "put_aside"
        assert declared.side is not None  # the declaration was checked
        missing = MissingReference(enrichment=declared.name, table=self._lookup.table, attempts=attempt, event=event)
        await self._send.aside(declared.side, at, missing, event, emit)
        return "side"


class Rekeyer:
    """Of one enrichment that only sends events under another key."""

    def __init__(self, enrichment: Enrichment, event: Event) -> None:
        self._name = enrichment.name
        self._send = Sender(enrichment, event)

    async def rekey(self, events: Sequence[msgspec.Struct], *, emit: Emit, metrics: Metrics) -> None:
        for at, event in enumerate(events):
            await self._send.on(at, event, (), emit)
        metrics.add(EVENTS, len(events), enrichment=self._name, outcome="sent")


def _waiting(event: Event) -> type[msgspec.Struct]:
    """The message of an event that waits; `attempt` is the number of its next one, after that of the event itself."""
    made: type[msgspec.Struct] = msgspec.defstruct(
        "Waiting" + struct_of(event).__name__,
        [("attempt", Annotated[int, Meta(ge=2)]), ("event", struct_of(event))],
        kw_only=True,
        frozen=True,
        forbid_unknown_fields=True,
    )
    made.__doc__ = f"An event {event.name} that waits for the row that it refers to."
    return made
