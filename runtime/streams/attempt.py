"""One attempt at a message, or at a batch, on its way through the pipeline: made for each, so it is kept light."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from contracts import outcome
from contracts.logging_context import Work, named_by
from contracts.message import Delivery
from runtime.pipeline import Mounted, Scope
from runtime.policy.retry import Cut
from runtime.streams.passage import Passage

if TYPE_CHECKING:
    from runtime.streams.carrier import Carrier


class Attempt:
    """Implements `runtime.pipeline.Work`. With `bury` false the failure of all rows together is not yet the end."""

    __slots__ = (
        "_carrier",
        "attempt",
        "bury",
        "clock",
        "decode",
        "deliveries",
        "metrics",
        "mounted",
        "passage",
        "scope",
    )

    def __init__(
        self,
        carrier: Carrier,
        passage: Passage,
        deliveries: Sequence[Delivery],
        decode: Callable[[], Any],
        attempt: int,
        scope: Scope,
        *,
        bury: bool,
    ) -> None:
        self._carrier = carrier
        self.mounted: Mounted = carrier.mounted
        self.clock = carrier.clock
        self.metrics = carrier.metrics
        self.passage = passage
        self.deliveries = deliveries
        self.decode = decode
        self.attempt = attempt
        self.scope = scope
        self.bury = bury

    def about(self) -> AbstractContextManager[object]:
        return named_by(self._named)

    def admit(self) -> outcome.Outcome | None:
        return None

    async def settle(self, became: outcome.Outcome) -> None:
        await self._carrier.settle(self, became)

    def cut(self) -> Cut | None:
        return self.passage.cut

    def carried(self) -> list[Mapping[str, str]]:
        return [delivery.envelope.headers for delivery in self.deliveries]

    def _named(self) -> Work:
        return Work(correlation_id=self.passage.source(self.deliveries).correlation_id, module=self.mounted.module.name)
