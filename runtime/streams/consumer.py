"""A stream route as the bus sees it: messages go into lanes or batches, and their ends move the watermark."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

from contracts import metrics as metric
from contracts import outcome
from contracts.errors import Unavailable, Undecodable
from contracts.logging_context import work as about
from contracts.message import Delivery
from contracts.module import StreamRoute
from contracts.ports import Assignment
from runtime.dead_letter import dead_letter
from runtime.pipeline import Mounted, Work, carry
from runtime.policy.lanes import Lanes
from runtime.policy.retry import Cut
from runtime.streams.partition import OwnedPartition
from runtime.streams.scope import StreamScope
from runtime.supervisor import Fate
from runtime.tasks import Tasks
from runtime.wiring import Adapters

COMMIT_EVERY_S = 0.25
BURY_RETRY_MAX_S = 5.0


class Passage:
    """A message, or a batch, on its way through this worker."""

    def __init__(self, owned: OwnedPartition, deliveries: Sequence[Delivery]) -> None:
        self.owned = owned
        self.deliveries = deliveries
        self.cut: Cut | None = None
        self.task: asyncio.Task[None] | None = None

    @property
    def id(self) -> str:
        return self.deliveries[0].envelope.id

    def why_cut(self) -> Cut | None:
        return self.cut


class StreamConsumer:
    """Implements `contracts.ports.Consumer` for a stream route."""

    def __init__(self, mounted: Mounted, adapters: Adapters, tasks: Tasks) -> None:
        assert isinstance(mounted.route, StreamRoute)
        self.mounted = mounted
        self.route: StreamRoute = mounted.route
        self.owned: dict[Assignment, OwnedPartition] = {}
        self.passages: set[Passage] = set()
        self.fates: dict[str, Fate] = {}
        self.idle = asyncio.Event()
        self.idle.set()
        self._adapters = adapters
        self._clock = adapters.clock
        self._tasks = tasks
        self._stopping = False
        self._lanes: Lanes[Passage] = Lanes(self.route.lanes)
        self._gathering: dict[OwnedPartition, list[Delivery]] = {}
        self._timers: dict[OwnedPartition, asyncio.TimerHandle] = {}

    # What the bus calls.

    async def assigned(self, assignment: Assignment) -> None:
        self.owned[assignment] = OwnedPartition(assignment)

    def fetched(self, assignment: Assignment, deliveries: Sequence[Delivery]) -> None:
        owned = self.owned[assignment]
        for delivery in deliveries:
            owned.begin(delivery)
        if self.route.batch:
            self._gather(owned, deliveries)
        else:
            for delivery in deliveries:
                self._lanes.offer(self._lane_of(delivery), Passage(owned, [delivery]))
        self._pump()

    async def revoked(self, assignment: Assignment) -> None:
        """What runs gets until the bus's own deadline; then it is cut and nothing more of it is committed."""
        owned = self.owned[assignment]
        try:
            running = [one.task for one in self.passages if one.owned is owned and one.task]
            if running:
                await asyncio.wait(running)
            await owned.commit()
        finally:
            owned.over = True
            del self.owned[assignment]
            for passage in tuple(self.passages):
                if passage.owned is owned:
                    self._cut(passage)

    # What a drain needs.

    def stop(self) -> None:
        """Nothing new is started; what waits in lanes goes back unharmed."""
        self._stopping = True
        for owned in tuple(self._timers):
            self._timers.pop(owned).cancel()

    def cut(self) -> None:
        for passage in tuple(self.passages):
            self._cut(passage)

    async def commit(self) -> None:
        """Commit every watermark that moved."""
        self._adapters.metrics.set(metric.LANE_DEPTH, self._lanes.waiting, address=self.route.address)
        for owned in tuple(self.owned.values()):
            await owned.commit()

    # Lanes and batches.

    def _lane_of(self, delivery: Delivery) -> str | None:
        envelope = delivery.envelope
        if self.route.key is None:
            return envelope.key
        try:
            return str(getattr(self.mounted.decode(envelope.body), self.route.key))
        except Undecodable:
            return None

    def _gather(self, owned: OwnedPartition, deliveries: Sequence[Delivery]) -> None:
        """Batches of one partition are one lane: they run in its order, one at a time."""
        batch = self.route.batch
        assert batch is not None
        waiting = self._gathering.setdefault(owned, [])
        waiting.extend(deliveries)
        while len(waiting) >= batch.rows:
            self._lanes.offer(_partition_lane(owned), Passage(owned, waiting[: batch.rows]))
            del waiting[: batch.rows]
        if waiting and owned not in self._timers:
            timer = asyncio.get_running_loop().call_later(batch.wait_s, self._waited, owned)
            self._timers[owned] = timer

    def _waited(self, owned: OwnedPartition) -> None:
        self._timers.pop(owned, None)
        if waiting := self._gathering.pop(owned, None):
            self._lanes.offer(_partition_lane(owned), Passage(owned, waiting))
            self._pump()

    def _pump(self) -> None:
        while not self._stopping and (taken := self._lanes.take()):
            key, passage = taken
            self.passages.add(passage)
            self.idle.clear()
            passage.task = self._tasks.start(self._pass(passage), name=f"{self.route.address} {passage.id}")
            passage.task.add_done_callback(partial(self._passed, key, passage))

    def _passed(self, key: str | None, passage: Passage, task: asyncio.Task[None]) -> None:
        self.passages.discard(passage)
        self._lanes.done(key)
        if not task.cancelled() and (error := task.exception()):
            self._adapters.log.error("a message broke outside its handler", id=passage.id, error=repr(error))
        if not self.passages:
            self.idle.set()
        self._pump()

    def _cut(self, passage: Passage) -> None:
        if passage.task and passage.cut is None:
            passage.cut = "end" if self.route.overrun == "cancel" else "drain"
            passage.task.cancel()

    # One message, or one batch, to its end.

    async def _pass(self, passage: Passage) -> None:
        if self.route.batch is None:
            delivery = passage.deliveries[0]
            await self._attempts(passage, [delivery], partial(self.mounted.decode, delivery.envelope.body))
        else:
            await self._pass_batch(passage, await self._decodable(passage))

    async def _decodable(self, passage: Passage) -> list[tuple[Delivery, Any]]:
        """Bury what can't be decoded, before the handler is called with the rest."""
        good = []
        for delivery in passage.deliveries:
            try:
                good.append((delivery, self.mounted.decode(delivery.envelope.body)))
            except Undecodable as error:
                await self._bury(passage, delivery, outcome.Dead(reason="undecodable", error=str(error)))
        return good

    async def _pass_batch(self, passage: Passage, rows: Sequence[tuple[Delivery, Any]]) -> None:
        """One call for all rows; where that fails for good, the halves are tried until the culprit stands alone."""
        if not rows:
            return
        deliveries = [delivery for delivery, _ in rows]
        messages = [message for _, message in rows]
        became = await self._attempts(passage, deliveries, lambda: messages, bury=len(rows) == 1)
        if isinstance(became, outcome.Dead) and len(rows) > 1:
            middle = len(rows) // 2
            await self._pass_batch(passage, rows[:middle])
            await self._pass_batch(passage, rows[middle:])

    async def _attempts(
        self, passage: Passage, deliveries: Sequence[Delivery], decode: Any, *, bury: bool = True
    ) -> outcome.Outcome:
        """Try until it is settled; a retry blocks its own lane only."""
        attempt = 1
        while True:
            became = await carry(self._work(passage, deliveries, decode, attempt, bury))
            if not isinstance(became, outcome.Retry):
                return became
            attempt += became.counts
            try:
                await self._clock.sleep(became.after_s)
            except asyncio.CancelledError:
                released = outcome.Release(reason="cut while it waited for its next attempt")
                await self._settle(passage, deliveries, bury, released)
                return released

    def _work(self, passage: Passage, deliveries: Sequence[Delivery], decode: Any, attempt: int, bury: bool) -> Work:
        envelope = deliveries[0].envelope
        module = self.mounted.module.name
        return Work(
            mounted=self.mounted,
            decode=decode,
            attempt=attempt,
            scope=StreamScope(
                self._adapters, self.mounted, source_id=envelope.id, correlation_id=envelope.correlation_id
            ),
            clock=self._clock,
            metrics=self._adapters.metrics,
            about=partial(about, correlation_id=envelope.correlation_id, module=module),
            admit=lambda: None,
            settle=partial(self._settle, passage, deliveries, bury),
            cut=passage.why_cut,
        )

    async def _settle(
        self, passage: Passage, deliveries: Sequence[Delivery], bury: bool, became: outcome.Outcome
    ) -> None:
        kind = type(became).__name__.lower()
        metrics, address = self._adapters.metrics, self.route.address
        metrics.add(metric.MESSAGES_PROCESSED, len(deliveries), address=address, outcome=kind)
        match became:
            case outcome.Done() | outcome.Cancelled():
                for delivery in deliveries:
                    passage.owned.finish(delivery)
                self._fated(deliveries, "finished" if isinstance(became, outcome.Done) else "cancelled")
            case outcome.Dead() if bury:
                for delivery in deliveries:
                    await self._bury(passage, delivery, became)
            case outcome.Release():
                for delivery in deliveries:
                    await passage.owned.release(delivery)
                self._fated(deliveries, "requeued")
            case outcome.Retry(after_s=after_s, error=error):
                metrics.add(metric.RETRIES, address=address)
                self._adapters.log.warn("will be tried again", address=address, after_s=round(after_s, 1), error=error)

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
        self._adapters.metrics.add(metric.DEAD_LETTERS, address=self.route.address, reason=dead.reason)
        self._adapters.log.error(
            "buried", address=self.route.address, id=letter.id, reason=dead.reason, error=dead.error
        )
        passage.owned.finish(delivery)
        self._fated([delivery], "finished")

    def _fated(self, deliveries: Sequence[Delivery], fate: Fate) -> None:
        if self._stopping:
            self.fates.update((delivery.envelope.id, fate) for delivery in deliveries)


class Streams:
    """All stream routes of the worker, as a drain sees them (`runtime.supervisor.InFlight`)."""

    def __init__(self, adapters: Adapters) -> None:
        self._adapters = adapters
        self._consumers: list[StreamConsumer] = []

    def add(self, consumer: StreamConsumer) -> None:
        self._consumers.append(consumer)

    async def run(self) -> None:
        """The loop that commits what is finished."""
        while True:
            await self._adapters.clock.sleep(COMMIT_EVERY_S)
            await self.commit()

    async def commit(self) -> None:
        for consumer in self._consumers:
            await consumer.commit()

    def stop(self) -> None:
        for consumer in self._consumers:
            consumer.stop()

    def in_flight(self) -> list[str]:
        return [
            delivery.envelope.id
            for consumer in self._consumers
            for passage in consumer.passages
            for delivery in passage.deliveries
        ]

    async def finished(self) -> None:
        for consumer in self._consumers:
            await consumer.idle.wait()

    def ask_to_stop(self) -> None:
        """Handlers of streams are short: there is nothing to ask of them."""

    def cut(self) -> None:
        for consumer in self._consumers:
            consumer.cut()

    def fate(self, work_id: str) -> Fate:
        return next((c.fates[work_id] for c in self._consumers if work_id in c.fates), "abandoned")


def _partition_lane(owned: OwnedPartition) -> str:
    partition = owned.assignment.partition
    return f"{partition.address}/{partition.index}"
