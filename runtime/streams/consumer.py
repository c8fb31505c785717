"""A stream route as the bus sees it: messages go into lanes or batches, and their ends move the watermark."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from contracts import metrics as metric
from contracts.message import Delivery
from contracts.module import StreamRoute
from contracts.ports import Assignment
from runtime.pipeline import Mounted
from runtime.policy.lanes import Lanes
from runtime.streams.carrier import Carrier
from runtime.streams.gathering import Gathering
from runtime.streams.partition import OwnedPartition
from runtime.streams.passage import Passage
from runtime.supervisor import Fate
from runtime.tasks import Tasks
from runtime.wiring import Adapters


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
        self._tasks = tasks
        self._stopping = False
        self._lanes: Lanes[Passage] = Lanes(self.route.lanes)
        self._carrier = Carrier(mounted, adapters, stopping=lambda: self._stopping, tell=self._tell)
        self._gathering = None
        if self.route.batch:
            self._gathering = Gathering(self.route.batch, clock=adapters.clock, tasks=tasks, hand_over=self._offer)

    # What the bus calls.

    async def assigned(self, assignment: Assignment) -> None:
        self.owned[assignment] = OwnedPartition(assignment)

    def fetched(self, assignment: Assignment, deliveries: Sequence[Delivery]) -> None:
        owned = self.owned[assignment]
        fresh = [delivery for delivery in deliveries if owned.begin(delivery)]
        if self._gathering is not None:
            self._gathering.add(owned, fresh)
            return
        for delivery in fresh:
            self._lanes.offer(self._lane_of(delivery), Passage(owned, [delivery]))
        self._pump()

    async def revoked(self, assignment: Assignment) -> None:
        """What runs gets until the bus's own deadline; then it is cut and nothing more of it is committed. What waits,
        for its turn or its next attempt, is the next owner's at once."""
        owned = self.owned[assignment]
        owned.ending = True
        if self._gathering is not None:
            self._gathering.drop(owned)
        ours = [passage for passage in self.passages if passage.owned is owned]
        for passage in ours:
            if passage.asleep:
                passage.end("drain")
        try:
            if running := [passage.task for passage in ours if passage.task]:
                await asyncio.wait(running)
            await owned.commit()
        finally:
            owned.over = True
            del self.owned[assignment]
            for passage in ours:
                passage.end("drain")

    # What a drain needs.

    def stop(self) -> None:
        """Nothing new is started, no attempt is made again; what waits in lanes goes back unharmed."""
        self._stopping = True
        if self._gathering is not None:
            self._gathering.stop()

    def end_what_waits(self) -> None:
        """What waits for its next attempt goes back unharmed."""
        for passage in tuple(self.passages):
            if passage.asleep:
                passage.end("drain")

    def cut(self) -> None:
        """End what still runs, as the route's overrun policy says."""
        for passage in tuple(self.passages):
            passage.end("end" if self.route.overrun == "cancel" else "drain")

    async def commit(self) -> None:
        """Commit every watermark that moved."""
        self._adapters.metrics.set(metric.LANE_DEPTH, self._lanes.waiting, address=self.route.address)
        for owned in tuple(self.owned.values()):
            await owned.commit()

    # Lanes.

    def _offer(self, owned: OwnedPartition, deliveries: Sequence[Delivery]) -> None:
        """Batches of one partition are one lane: they run in its order, one at a time."""
        partition = owned.assignment.partition
        self._lanes.offer(f"{partition.address}/{partition.index}", Passage(owned, deliveries))
        self._pump()

    def _lane_of(self, delivery: Delivery) -> str | None:
        envelope = delivery.envelope
        return envelope.key if self.route.key is None else self.mounted.key_of(envelope.body)

    def _pump(self) -> None:
        while not self._stopping and (taken := self._lanes.take()):
            key, passage = taken
            if passage.owned.ending:
                self._lanes.done(key)
                continue
            self.passages.add(passage)
            self.idle.clear()
            passage.task = self._tasks.start(self._carrier.carry(passage), name=f"{self.route.address} {passage.id}")
            passage.task.add_done_callback(partial(self._passed, key, passage))

    def _passed(self, key: str | None, passage: Passage, task: asyncio.Task[None]) -> None:
        self.passages.discard(passage)
        self._lanes.done(key)
        if not task.cancelled() and (error := task.exception()):
            self._adapters.log.error("a message broke outside its handler", id=passage.id, error=repr(error))
        if not self.passages:
            self.idle.set()
        self._pump()

    def _tell(self, delivery: Delivery, fate: Fate) -> None:
        if self._stopping:
            self.fates[delivery.envelope.id] = fate
