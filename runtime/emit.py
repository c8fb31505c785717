"""Publishing from a handler, under ids that derive from the source."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec

from contracts.message import Envelope
from contracts.ports import Bus, Clock


class Emitter:
    """Implements `contracts.ports.Emit`: the n-th message that a source emits has the same id at every attempt, so
    that whoever receives it twice can tell. It is confirmed by the bus before the handler goes on."""

    def __init__(self, bus: Bus, clock: Clock, *, source_id: str, correlation_id: str) -> None:
        self._bus = bus
        self._clock = clock
        self._source_id = source_id
        self._correlation_id = correlation_id
        self._count = 0

    async def __call__(
        self,
        address: str,
        message: msgspec.Struct,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        self._count += 1
        envelope = Envelope(
            id=hashlib.sha256(f"{self._source_id}/{self._count}".encode()).hexdigest()[:32],
            address=address,
            body=msgspec.json.encode(message),
            key=key,
            headers=headers or {},
            correlation_id=self._correlation_id,
            published_at=self._clock.now(),
        )
        await self._bus.publish(envelope)
        return envelope.id
