"""A stream route as the bus sees it: messages go into lanes or batches, and their ends move the watermark."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from contracts import metrics as metric
from contracts.errors import LeaseLost, MillraceError, Transient, Unavailable, Undecodable
from contracts.message import Delivery, Envelope
from contracts.module import StreamRoute
from contracts.ports import Assignment
from contracts.ports.partitions import Taken
from runtime.pipeline import Mounted
from runtime.policy.lanes import Lanes
from runtime.policy.storm import Storm
from runtime.streams.carrier import Carrier
from runtime.streams.gathering import Gathering
from runtime.streams.parking import Parking
from runtime.streams.partition import OwnedPartition
from runtime.streams.passage import Passage
from runtime.streams.solitude import Solitude
from runtime.supervisor import Fate
from runtime.tasks import Tasks
from runtime.turn import next_turn
from runtime.wiring import Adapters

LOST = "the ledger says that it is another's"
STORM = "storm: nearly everything fails"
RETAKE_MAX_S = 30.0
TURN_EVERY = 32
"""So many messages are carried at most before everything else has its turn."""


class StreamConsumer:
    """Implements `contracts.ports.Consumer` for a stream route."""

    def __init__(
        self,
        mounted: Mounted,
        adapters: Adapters,
        tasks: Tasks,
        *,
        worker_id: Callable[[], str],
        solitude: Solitude,
        hurry: Callable[[], None],
        added: Callable[[], None],
    ) -> None:
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
        self._worker_id = worker_id
        self._solitude = solitude
        self._hurry = hurry
        self._stopping = False
        self._reasons: set[str] = set()
        self._beside: set[asyncio.Task[None]] = set()
        """What waits for better times, and for no longer than this worker works."""
        self._lanes: Lanes[OwnedPartition, Passage] = Lanes(self.route.lanes)
        self._parking = Parking(adapters.ledger, adapters.clock, delays=adapters.bus.capabilities.delay)
        self._carrier = Carrier(
            mounted,
            adapters,
            self._parking,
            stopping=lambda: self._stopping,
            tell=self._tell,
            lost=self.lost,
            added=added,
        )
        self._storm = Storm()
        self._gathering = None
        if self.route.batch:
            self._gathering = Gathering(self.route.batch, clock=adapters.clock, tasks=tasks, hand_over=self._batch)
        solitude.on_reopened(self._pump)

    # What the bus calls.

    async def assigned(self, assignment: Assignment) -> int | None:
        """Takes the partition in the ledger as well. A route that doesn't need the ledger goes on without it."""
        if self._stopping:
            raise Transient(f"{self.route.address}: this worker drains, and takes nothing more")
        owned = OwnedPartition(assignment, transactional=self.mounted.transactional)
        try:
            taken, lanes = await self._take(owned)
            owned.taken(taken, lanes, durable=self._adapters.bus.capabilities.durable)
        except Unavailable as error:
            if self.mounted.transactional:
                raise
            self._adapters.log.warn("taken without the ledger", address=self.route.address, error=str(error))
        self.owned[assignment] = owned
        for reason in self._reasons:
            assignment.pause(reason)
        return owned.start

    def fetched(self, assignment: Assignment, deliveries: Sequence[Delivery]) -> None:
        owned = self.owned[assignment]
        fresh = owned.begin(deliveries)
        if owned.suspects_below:
            fresh = self._without_suspects(owned, fresh)
        if self._gathering is not None:
            self._gathering.add(owned, fresh)
            return
        for delivery in fresh:
            passage = self._passage(owned, delivery)
            self._lanes.offer(owned, passage.lane, passage)
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
            await self._ended(ours)
            await self._leave(owned)
        finally:
            owned.over = True
            self.owned.pop(assignment, None)
            for passage in ours:
                passage.end("drain")

    # What a breaker tells (`runtime.gate.Subscriber`).

    def opened(self, name: str, why: str) -> None:
        self.pause(f"breaker: {name}")

    def closed(self, name: str) -> None:
        self.resume(f"breaker: {name}")

    # What breakers, storms and bounds need.

    def pause(self, reason: str) -> None:
        """Fetch nothing more, on any partition, also on those to come. Idempotent."""
        self._reasons.add(reason)
        for assignment in self.owned:
            assignment.pause(reason)

    def resume(self, reason: str) -> None:
        self._reasons.discard(reason)
        for assignment in self.owned:
            assignment.resume(reason)
        self._pump()

    @property
    def paused(self) -> frozenset[str]:
        """Why nothing is fetched; empty when it is."""
        return frozenset(self._reasons)

    @property
    def blocked(self) -> list[int]:
        """The partitions of which something waits for someone to do something."""
        return sorted(owned.assignment.partition.index for owned in self.owned.values() if owned.blocked)

    # What a drain needs.

    def stop(self) -> None:
        """Nothing new is started, no attempt is made again; what waits in lanes goes back unharmed."""
        self._stopping = True
        for task in tuple(self._beside):
            task.cancel()
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

    # What the loops of all routes need.

    async def look(self) -> None:
        """Carry what is due of what waits in the ledger; take what could not be taken when it was assigned."""
        self._adapters.metrics.set(metric.LANE_DEPTH, self._lanes.waiting, address=self.route.address)
        backlog = sum(owned.backlog for owned in self.owned.values())
        self._adapters.metrics.set(metric.BACKLOG, backlog, address=self.route.address, group=self.route.group)
        if self._stopping:
            return
        for owned in tuple(self.owned.values()):
            if owned.hold is None and not owned.ending:
                with suppress(LeaseLost):  # someone took it at the same time: the bus will say whose it is
                    owned.taken_late(*await self._take(owned))
        self._tick()
        await self._parking.look(tuple(self.owned.values()), self._offer)

    def _tick(self) -> None:
        """Call the handlers of partitions on which nothing has come for long, where the route wants that."""
        if (every_s := self.route.tick_s) is None:
            return
        for owned in self.owned.values():
            if owned.ticks(self._clock.monotonic(), every_s):
                owned.ticking = True
                id_ = self._clock.new_id()
                tick = Envelope(id=id_, address=self.route.address, body=b"", correlation_id=id_)
                self._offer(Passage(owned, (), _lane_of_batches(owned), tick=tick))

    def reported(self) -> None:
        """The ledger knows how far we are: what waited for that can start."""
        self._lanes.go_on()
        self._pump()

    # Lanes.

    def _passage(self, owned: OwnedPartition, delivery: Delivery, *, suspect: bool = False) -> Passage:
        if self._gathering is not None:
            return Passage(owned, [delivery], _lane_of_batches(owned), suspect=suspect)
        if self.route.key is None:
            return Passage(owned, [delivery], delivery.key, suspect=suspect)
        try:
            message = self.mounted.decode(delivery.body)
        except Undecodable:
            # It may wait for a worker that can read it: what follows under its key is not to overtake it.
            return Passage(owned, [delivery], self.mounted.key_of(delivery.body), suspect=suspect)
        value = getattr(message, self.route.key)
        lane = None if value is None else str(value)
        return Passage(owned, [delivery], lane, message=message, suspect=suspect)

    def _batch(self, owned: OwnedPartition, deliveries: Sequence[Delivery]) -> None:
        """Batches of one partition are one lane: they run in its order, one at a time."""
        self._offer(Passage(owned, deliveries, _lane_of_batches(owned)))

    def _offer(self, passage: Passage) -> None:
        if passage.suspect:
            self._solitude.suspect(partial(self._start, None, passage))
            return
        self._lanes.offer(passage.owned, passage.lane, passage)
        self._pump()

    def _without_suspects(self, owned: OwnedPartition, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Those that may have killed the last owner are run alone, in their order, before everything else."""
        for delivery in deliveries:
            if delivery.position < owned.suspects_below:
                passage = self._passage(owned, delivery, suspect=True)
                self._solitude.suspect(partial(self._start, None, passage))
        return [delivery for delivery in deliveries if delivery.position >= owned.suspects_below]

    def _pump(self) -> None:
        while following := self._following():
            self._start(*following)

    def _following(self) -> tuple[str | None, Passage] | None:
        """What may start now; None while there is nothing, or it may not."""
        while not self._stopping and not self._solitude.closed and not self._reasons and (taken := self._lanes.take()):
            lane, passage = taken
            if passage.stale:
                self._lanes.done(lane)
                self._forget(passage)
            elif passage.parked is None and not passage.owned.may_start(passage.last):
                self._lanes.hold(passage.owned, lane, passage)
                self._hurry()
            else:
                if passage.owned.wants_reach:
                    self._hurry()
                return taken
        return None

    def _start(self, lane: str | None, passage: Passage) -> None:
        if passage.stale or self._stopping:
            self._forget(passage)  # a suspect whose partition went away
            return
        self._began(passage)
        self._tasks.start(self._run(lane, passage), name=f"{self.route.address} {passage.id}")

    async def _run(self, lane: str | None, passage: Passage) -> None:
        """Carries this one, and then whatever is next: a task for each message would cost more than most handlers."""
        carried, task = 0, asyncio.current_task()
        assert task is not None
        while True:
            passage.task = task
            try:
                await self._carrier.carry(passage)
            except asyncio.CancelledError:
                if passage.cut is None:
                    raise
            finally:
                passage.task = None
                self._ended_one(lane, passage)
            if passage.cut is not None:
                # It was meant for this passage alone, also where its handler's end was made an outcome of.
                task.uncancel()
            carried += 1
            if carried % TURN_EVERY == 0:
                await next_turn()
            following = self._following()
            if following is None:
                return
            lane, passage = following
            self._began(passage)

    def _began(self, passage: Passage) -> None:
        passage.begin()
        self.passages.add(passage)
        self.idle.clear()
        self._solitude.began()

    def _ended_one(self, lane: str | None, passage: Passage) -> None:
        self.passages.discard(passage)
        self._forget(passage)
        if not passage.suspect:
            self._lanes.done(lane)
        if passage.done is not None:
            passage.done.set()
        if not self.passages:
            self.idle.set()
        self._solitude.ended()

    def _forget(self, passage: Passage) -> None:
        self._parking.ended(passage)
        if passage.tick is not None:
            passage.owned.ticking = False

    async def _ended(self, passages: Sequence[Passage]) -> None:
        """Returns when none of them runs any more."""
        for passage in passages:
            if passage in self.passages:
                passage.done = passage.done or asyncio.Event()  # a revocation and a recovery may wait for the same one
                await passage.done.wait()

    # The partition in the ledger.

    async def _take(self, owned: OwnedPartition) -> tuple[Taken, frozenset[str]]:
        ledger = self._adapters.ledger
        taken = await ledger.partitions.take(
            self.route.group,
            owned.assignment.partition,
            worker_id=self._worker_id(),
            incarnation=owned.assignment.incarnation,
            durable=self._adapters.bus.capabilities.durable,
        )
        return taken, await ledger.parking.lanes(taken.hold)

    async def _leave(self, owned: OwnedPartition) -> None:
        """Nothing of it runs: what is finished is kept for its next owner, who need not suspect anything."""
        try:
            if owned.hold is not None and not owned.over and not owned.suspects_left:
                position, finished = owned.left_at
                await self._adapters.ledger.partitions.leave(owned.hold, position=position, finished=finished)
        except Unavailable as error:
            self._adapters.log.warn("left without the ledger", address=self.route.address, error=str(error))
        try:
            await owned.commit()
        except Unavailable as error:
            self._adapters.log.warn("left uncommitted", address=self.route.address, error=str(error))

    def lost(self, owned: OwnedPartition) -> None:
        """Someone took it in the ledger. It is ours again only when the bus says so: a worker that stood still while
        its partition moved must not take it back from its rightful owner."""
        if owned.ending or owned.over:
            return
        owned.ending = True
        owned.assignment.pause(LOST)
        self._adapters.log.warn("partition lost in the ledger", address=self.route.address, hold=str(owned.hold))
        self._start_beside(self._recover(owned), name=f"recover {owned.assignment.partition}")

    async def _recover(self, owned: OwnedPartition) -> None:
        ours = [passage for passage in self.passages if passage.owned is owned]
        for passage in ours:
            passage.end("lease")
        await self._ended(ours)
        failures = 0
        while owned.assignment in self.owned and not self._stopping:
            await self._clock.sleep(min(RETAKE_MAX_S, 0.1 * 2.0**failures) * (0.5 + self._clock.random() / 2))
            failures += 1
            try:
                await owned.confirm()
                if owned.over:
                    return
                taken, lanes = await self._take(owned)
                unfinished = owned.taken_again(taken, lanes, durable=self._adapters.bus.capabilities.durable)
                await owned.assignment.release(unfinished)
            except LeaseLost:
                return
            except MillraceError as error:
                self._adapters.log.warn("not taken again yet", address=self.route.address, error=str(error))
                continue
            owned.assignment.resume(LOST)
            return

    # Ends.

    def _tell(self, deliveries: Sequence[Delivery], fate: Fate, *, well: bool = True) -> None:
        if self._stopping:
            self.fates.update((delivery.envelope.id, fate) for delivery in deliveries)
        elif fate == "finished" and (pause_s := self._storm.ended(len(deliveries), well=well)):
            self._adapters.log.error(STORM, address=self.route.address, pause_s=pause_s)
            self.pause(STORM)
            self._start_beside(self._calm(pause_s), name=f"storm {self.route.address}")

    def _start_beside(self, work: Coroutine[Any, Any, None], *, name: str) -> None:
        task = self._tasks.start(work, name=name)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    async def _calm(self, pause_s: float) -> None:
        await self._clock.sleep(pause_s)
        self.resume(STORM)


def _lane_of_batches(owned: OwnedPartition) -> str:
    partition = owned.assignment.partition
    return f"{partition.address}/{partition.index}"
