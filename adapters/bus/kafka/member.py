"""One route in its consumer group: which partitions it leases, from `assigned` to `revoked`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

import msgspec
from aiokafka import ConsumerRebalanceListener  # type: ignore[import-untyped]
from aiokafka.errors import KafkaError, RebalanceInProgressError, UnknownMemberIdError  # type: ignore[import-untyped]
from aiokafka.structs import OffsetAndMetadata, TopicPartition  # type: ignore[import-untyped]

from adapters.bus.kafka import seams
from adapters.bus.kafka.committer import Committer
from adapters.bus.kafka.lease import KafkaLease
from adapters.bus.kafka.limits import KafkaLimits
from adapters.bus.kafka.places import Place, note_of, starting_point
from adapters.bus.kafka.sharing import Claim
from adapters.bus.owned import OwnedTasks
from contracts.ports.bus import Consumer
from contracts.ports.clock import Clock

_logger = logging.getLogger("millrace.bus")

FIRST_RETRY_S = 0.1
LAST_RETRY_S = 5.0
COMMIT_ATTEMPTS = 6

Places = Callable[[Any, Collection[int]], Awaitable[Mapping[int, Place]]]
"""What the cluster, through this aiokafka consumer, knows of these partitions; raises when it can't be asked, or when
they are not to be taken."""


class MemberSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a member is made with, beside its route."""

    topic: str
    group: str
    ledger: str
    limits: KafkaLimits
    revoke_wait_s: float
    member: str = ""

    @property
    def namesake(self) -> str:
        return f" (does another process call itself {self.member!r} too?)" if self.member else ""


class Member(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Keeps a route's leases equal to what its group decided; aiokafka tells it of each rebalance.

    A partition that stays is not touched by a rebalance: its lease, and with it all that runs, goes on. It stays when
    this member took part in every generation since it came, for each leader leaves what is claimed with its claimant;
    else others may have had it meanwhile, so the lease is over at once, and a new one is opened.

    `assigned` that fails is tried again with a growing pause; until it succeeds nothing of that partition is fetched.
    `revoked` is awaited for `revoke_wait_s` at most; then the lease ends all the same.
    """

    def __init__(self, consumer: Consumer, settings: MemberSettings, clock: Clock, places: Places) -> None:
        self.consumer = consumer
        self.topic = settings.topic
        self.leases: dict[int, KafkaLease] = {}
        self.faults: dict[int, str] = {}
        """By partition: why `assigned` failed the last time, or why it is not fetched."""
        self.wake: Callable[[], None] = lambda: None
        """There may be something to do for the loop."""
        self.committer = Committer(clock, self._send_commit, wait_s=settings.limits.commit_wait_s, lost=self._lose_all)
        self.group = settings.group
        self._settings = settings
        self._clock = clock
        self._places = places
        self._tasks = OwnedTasks(f"{settings.group} of {settings.topic}")
        self._opening: dict[int, asyncio.Task[None]] = {}
        self._giving_up: set[asyncio.Task[None]] = set()
        self._wanted: set[int] = set()
        self._generation = 0
        self._client: Any = None
        self._assigned: set[TopicPartition] = set()
        self._leaving = False
        self._moving = False
        """Something that we gave up waits for the group to be joined again, to learn that it is free."""

    # Its life.

    def join(self, client: Any) -> None:
        """Be a member through this aiokafka consumer, from now until `part`."""
        self._client = client
        client.subscribe(topics=[self.topic], listener=self)

    def part(self) -> None:
        """The consumer is no more, without having left: everything is lost. Another one may follow."""
        self._lose_all()
        self._client = None

    async def leave(self) -> None:
        """Give everything up, while still a member so that what is finished can be committed."""
        self._leaving = True
        self._wanted.clear()
        for lease in list(self.leases.values()):
            self._give_up(lease)
        await self._given_up()
        await self.committer.close()
        await self._tasks.close()

    async def watch(self, *, every_s: float) -> None:
        """A fetch tells of the end of a partition, or that there is none; this asks where nothing is fetched, so that
        the lag of what is paused is seen to grow, and a topic that was deleted is found when it is made anew."""
        while True:
            await self._clock.sleep(every_s)
            client, leases = self._client, [lease for lease in self.leases.values() if lease.opened]
            try:
                if client is not None and not client.partitions_for_topic(self.topic):
                    await seams.look_around(client)
                elif leases:
                    ends = await client.end_offsets([lease.tp for lease in leases])
                    for lease in leases:
                        lease.end = max(lease.end, ends[lease.tp])
            except Exception as error:  # noqa: BLE001 - it is asked for again
                _logger.info("%s, group %s: its lag is not known: %s", self.topic, self.group, error)

    async def abandon(self) -> None:
        """End all tasks; nobody is told."""
        self._leaving = True
        await self._tasks.close()
        await self.committer.close()

    # What aiokafka calls.

    def claim(self) -> Claim:
        """At each attempt to join: what is ours."""
        generation = seams.generation(self._client)
        if generation == self._generation + 1:
            self._generation = generation  # that join was in vain, and yet nobody was given what we claimed
        elif generation != self._generation:
            self._lose_all()
        return Claim(self._generation, tuple(sorted(index for index, lease in self.leases.items() if not lease.over)))

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """The group is about to be joined again. Nothing is taken away yet: whatever we claim stays."""
        if seams.generation(self._client) <= 0:
            self._lose_all()
        await self._given_up()
        await self.committer.close_gate()
        self._assigned = set()
        self._moving = False

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        generation = seams.generation(self._client)
        if generation not in (self._generation, self._generation + 1):
            self._lose_all()
        self._generation = generation
        self._assigned = set(assigned)
        self._wanted = set() if self._leaving else {tp.partition for tp in assigned}
        for index, lease in list(self.leases.items()):
            if lease.over or lease.revoking:
                continue
            if index in self._wanted:
                self._keep(lease)
            else:
                self._moving = True
                self._give_up(lease)
        self.committer.open_gate()
        self._open_wanted()

    # What leases call.

    def hold_fetching(self, lease: KafkaLease) -> None:
        if lease.tp in self._assigned:
            self._client.pause(lease.tp)

    def go_on_fetching(self, lease: KafkaLease) -> None:
        if lease.tp in self._assigned:
            self._client.resume(lease.tp)
        self.wake()

    def seek(self, lease: KafkaLease) -> None:
        """Without an assignment at the moment it is done at the next one."""
        if lease.tp in self._assigned:
            self._client.seek(lease.tp, lease.position)
            self.wake()

    def is_ours(self, lease: KafkaLease) -> bool:
        return not lease.over and not lease.revoking

    # Taking.

    def _keep(self, lease: KafkaLease) -> None:
        """aiokafka has forgotten where it stood, and that it was paused."""
        if lease.opened:
            self.seek(lease)
        if not lease.ready:
            self.hold_fetching(lease)

    def _open_wanted(self) -> None:
        fresh = [index for index in sorted(self._wanted) if index not in self.leases]
        if not fresh:
            return
        # One look-up for all of them; who fails, or comes later, asks for itself.
        places = self._tasks.start(self._look_up(fresh), f"look up {fresh}")
        for index in fresh:
            lease = self.leases[index] = KafkaLease(self, index, self._generation)
            self.hold_fetching(lease)
            self._opening[index] = self._tasks.start(self._open(lease, places), f"assign partition {index}")

    def reopen(self, lease: KafkaLease) -> None:
        """What it wants to fetch next is not there: retention was faster, or the topic is another one now."""
        if self.is_ours(lease):
            lease.wanted = lease.position
            lease.end_fetching()
            self.hold_fetching(lease)
            index = lease.partition.index
            places = self._tasks.start(self._look_up([index]), f"look up {index}")
            self._opening[index] = self._tasks.start(self._open(lease, places), f"assign partition {index} again")

    async def _look_up(self, indices: Collection[int]) -> Mapping[int, Place] | Exception:
        try:
            return await self._places(self._client, indices)
        except Exception as error:  # noqa: BLE001 - whoever opens judges it
            return error

    async def _open(self, lease: KafkaLease, looked_up: asyncio.Task[Mapping[int, Place] | Exception]) -> None:
        index = lease.partition.index
        places = await asyncio.shield(looked_up)
        retry_s = FIRST_RETRY_S
        while self.is_ours(lease):
            try:
                if isinstance(places, Exception):
                    raise places
                await self._take(lease, places[index])
            except Exception as error:
                self.faults[index] = f"{type(error).__name__}: {error}"
                _logger.error("%r was not taken; it is tried again", lease, exc_info=error)
            else:
                return
            await self._clock.sleep(retry_s)
            retry_s = min(retry_s * 2, LAST_RETRY_S)
            places = await self._look_up([index])

    async def _take(self, lease: KafkaLease, place: Place) -> None:
        lease.end = place.end
        if not lease.held:
            lease.incarnation = place.incarnation
            lease.note = note_of(self._settings.ledger, place.incarnation)
            lease.committed = lease.committing = place.begin
            lease.wanted = await self.consumer.assigned(lease)
            lease.held = True
        elif lease.incarnation != place.incarnation:
            self.lose(lease)
        if not self.is_ours(lease):
            return
        name = f"{self.topic} partition {lease.partition.index}"
        lease.start_at(starting_point(place, lease.wanted, name=name, route=self.consumer.route))
        self.faults.pop(lease.partition.index, None)
        self._opening.pop(lease.partition.index, None)
        if lease.ready:
            self.go_on_fetching(lease)

    # Giving up.

    def _lose_all(self) -> None:
        """The group went on without us: nothing of ours may be committed any more."""
        self._generation = 0
        self._assigned = set()
        for lease in list(self.leases.values()):
            if not lease.over:
                _logger.warning("%r is lost: its group went on without this member%s", lease, self._settings.namesake)
                lease.over = True
                if not lease.revoking:
                    self._give_up(lease)

    def lose(self, lease: KafkaLease) -> None:
        """This one is over, now. Who gets the partition is for the group to say again, under a new generation."""
        if not lease.over:
            lease.over = True
            self._moving = True
            self._wanted.discard(lease.partition.index)
            if not lease.revoking:
                self._give_up(lease)

    def _give_up(self, lease: KafkaLease) -> None:
        if not lease.revoking:
            lease.revoking = True
            lease.opened = False
            self.hold_fetching(lease)
            task = self._tasks.start(self._revoke(lease), f"revoke partition {lease.partition.index}")
            self._giving_up.add(task)
            task.add_done_callback(self._giving_up.discard)

    async def _revoke(self, lease: KafkaLease) -> None:
        index = lease.partition.index
        try:
            async with self._clock.timeout(self._settings.revoke_wait_s):
                await self._stop_opening(lease)
                if lease.held:
                    await self.consumer.revoked(lease)
        except TimeoutError:
            wait_s = self._settings.revoke_wait_s
            _logger.warning("%r ends: its consumer did not let go within %g s", lease, wait_s)
        except Exception:
            _logger.exception("%r ends: its consumer failed to let go", lease)
        finally:
            lease.over = True
            lease.end_fetching()
            self.faults.pop(index, None)
            if self.leases.get(index) is lease:
                del self.leases[index]
            self._given_up_one()

    async def _stop_opening(self, lease: KafkaLease) -> None:
        opening = self._opening.pop(lease.partition.index, None)
        if opening is not None and opening is not asyncio.current_task() and not opening.done():
            opening.cancel()
            await asyncio.wait([opening])

    def _given_up_one(self) -> None:
        if self._leaving or self._client is None:
            return
        if self._assigned:
            self._open_wanted()
        if self._moving and not any(lease.revoking for lease in self.leases.values()):
            self._moving = False
            seams.join_again(self._client)

    async def _given_up(self) -> None:
        """Returns when whatever is being given up is; the deadline is in each of them."""
        while self._giving_up:
            await asyncio.wait(set(self._giving_up))

    # Committing.

    async def _send_commit(self, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        retry_s = FIRST_RETRY_S
        for attempt in range(COMMIT_ATTEMPTS):
            client = self._client
            if client is None:
                raise UnknownMemberIdError(self._settings.group)
            await seams.ready_to_commit(client)
            generation = seams.generation(client)
            if generation <= 0:
                raise UnknownMemberIdError(self._settings.group)
            if generation != self._generation:
                raise RebalanceInProgressError(self._settings.group)
            try:
                return await seams.commit(client, offsets)
            except KafkaError as error:
                if not error.retriable or attempt + 1 == COMMIT_ATTEMPTS:
                    raise
            await self._clock.sleep(retry_s)
            retry_s = min(retry_s * 2, LAST_RETRY_S)
        raise AssertionError("unreachable")
