"""One message, or one batch, from its lane to its end: attempts, the search for a culprit, the dead letters."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from contracts import metrics as metric
from contracts import outcome
from contracts.errors import Unavailable, Undecodable
from contracts.logging_context import work as about
from contracts.message import Delivery
from contracts.module import StreamRoute
from runtime.dead_letter import dead_letter
from runtime.pipeline import Mounted, Work, carry
from runtime.streams.passage import Passage
from runtime.streams.scope import StreamScope
from runtime.supervisor import Fate
from runtime.wiring import Adapters

BURY_RETRY_MAX_S = 5.0
RELEASED_WAIT_S = 1.0
"""Before what was released without anybody asking for it is tried again, in its lane."""

Decoded = tuple[Delivery, Any]
Tell = Callable[[Delivery, Fate], None]


class Carrier:
    """Carries the passages of one route; `tell` hears what became of each message. Once it is `stopping`, nothing is
    tried again."""

    def __init__(self, mounted: Mounted, adapters: Adapters, *, stopping: Callable[[], bool], tell: Tell) -> None:
        assert isinstance(mounted.route, StreamRoute)
        self._mounted = mounted
        self._route: StreamRoute = mounted.route
        self._adapters = adapters
        self._clock = adapters.clock
        self._stopping = stopping
        self._tell = tell

    async def carry(self, passage: Passage) -> None:
        """To its end. What is still open when it is cut goes back unharmed; what broke outside its handler stays open,
        so that it is never acknowledged."""
        try:
            if self._route.batch is None:
                delivery = passage.deliveries[0]
                await self._attempts(passage, [delivery], partial(self._mounted.decode, delivery.envelope.body))
            else:
                await self._batch(passage, await self._decodable(passage))
        except asyncio.CancelledError:
            await self._hand_back(passage)
            raise
        await self._hand_back(passage)

    async def _decodable(self, passage: Passage) -> list[Decoded]:
        """Bury what can't be decoded, before the handler is called with the rest."""
        good = []
        for delivery in passage.deliveries:
            try:
                good.append((delivery, self._mounted.decode(delivery.envelope.body)))
            except Undecodable as error:
                await self._bury(passage, delivery, outcome.Dead(reason="undecodable", error=str(error)))
        return good

    async def _batch(self, passage: Passage, rows: Sequence[Decoded], *, attempt: int = 1) -> None:
        """One call for all rows; where that fails for good, the halves are tried until the culprit stands alone."""
        if not rows or passage.cut:
            return
        deliveries = [delivery for delivery, _ in rows]
        messages = [message for _, message in rows]
        became = await self._attempts(passage, deliveries, lambda: messages, bury=len(rows) == 1, attempt=attempt)
        if isinstance(became, outcome.Dead) and len(rows) > 1:
            # What has used up its attempts together gets one more alone: else a failing dependency is asked for ever.
            attempt = 1 if became.reason == "permanent" else self._route.retry.attempts
            middle = len(rows) // 2
            await self._batch(passage, rows[:middle], attempt=attempt)
            await self._batch(passage, rows[middle:], attempt=attempt)

    async def _attempts(
        self,
        passage: Passage,
        deliveries: Sequence[Delivery],
        decode: Callable[[], Any],
        *,
        bury: bool = True,
        attempt: int = 1,
    ) -> outcome.Outcome:
        """Try until it is settled; a retry blocks its own lane only."""
        while True:
            became = await carry(self._work(passage, deliveries, decode, attempt, bury))
            match became:
                case outcome.Retry(after_s=wait_s, counts=counts):
                    attempt += counts
                case outcome.Release() if not _asked_to_end(passage):
                    wait_s = RELEASED_WAIT_S
                case _:
                    return became
            if self._stopping() or passage.owned.ending:
                return became
            passage.asleep = True
            try:
                await self._clock.sleep(wait_s)
            finally:
                passage.asleep = False

    def _work(
        self, passage: Passage, deliveries: Sequence[Delivery], decode: Callable[[], Any], attempt: int, bury: bool
    ) -> Work:
        envelope = deliveries[0].envelope
        return Work(
            mounted=self._mounted,
            decode=decode,
            attempt=attempt,
            scope=StreamScope(
                self._adapters, self._mounted, source_id=envelope.id, correlation_id=envelope.correlation_id
            ),
            clock=self._clock,
            metrics=self._adapters.metrics,
            about=partial(about, correlation_id=envelope.correlation_id, module=self._mounted.module.name),
            admit=lambda: None,
            settle=partial(self._settle, passage, deliveries, bury),
            cut=passage.why_cut,
        )

    async def _settle(
        self, passage: Passage, deliveries: Sequence[Delivery], bury: bool, became: outcome.Outcome
    ) -> None:
        metrics, address = self._adapters.metrics, self._route.address
        kind = type(became).__name__.lower()
        metrics.add(metric.MESSAGES_PROCESSED, len(deliveries), address=address, outcome=kind)
        match became:
            case outcome.Done() | outcome.Cancelled():
                fate: Fate = "finished" if isinstance(became, outcome.Done) else "cancelled"
                for delivery in deliveries:
                    passage.finish(delivery)
                    self._tell(delivery, fate)
            case outcome.Dead() if bury:
                for delivery in deliveries:
                    await self._bury(passage, delivery, became)
            case outcome.Retry(after_s=after_s, error=error):
                metrics.add(metric.RETRIES, len(deliveries), address=address)
                self._adapters.log.warn("will be tried again", address=address, after_s=round(after_s, 1), error=error)
            case _:
                pass  # a release is handed back, or tried again; the halves of a batch are tried next

    async def _bury(self, passage: Passage, delivery: Delivery, dead: outcome.Dead) -> None:
        """Into the dead letters, then finished. While the ledger is down the message is kept, and its lane waits."""
        letter = dead_letter(delivery, dead)
        failures = 0
        while True:
            try:
                await self._adapters.ledger.dead_letters.bury([letter])
                break
            except Unavailable as error:
                failures += 1
                self._adapters.log.warn("a dead letter waits for the ledger", id=letter.id, error=str(error))
                await self._clock.sleep(min(BURY_RETRY_MAX_S, 0.1 * 2.0**failures))
        self._adapters.metrics.add(metric.DEAD_LETTERS, address=self._route.address, reason=dead.reason)
        self._adapters.log.error(
            "buried", address=self._route.address, id=letter.id, reason=dead.reason, error=dead.error
        )
        passage.finish(delivery)
        self._tell(delivery, "finished")

    async def _hand_back(self, passage: Passage) -> None:
        for delivery in tuple(passage.open.values()):
            await passage.release(delivery)
            self._tell(delivery, "requeued")


def _asked_to_end(passage: Passage) -> bool:
    task = asyncio.current_task()
    return passage.cut is not None or (task is not None and task.cancelling() > 0)
