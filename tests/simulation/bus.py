"""The shared memory bus as one process reaches it over a network: durable, since it outlives its processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adapters.bus.memory.bus import MemoryBus
from adapters.bus.memory.mounted import FetchLimits
from contracts.message import Delivery, Envelope, Partition
from contracts.module import JobRoute, Route
from contracts.ports.bus import Assignment, BusCapabilities, Consumer
from tests.simulation.process import Process

BUS = "the bus"


class SimAssignment:
    """Implements `Assignment`: what it commits is checked when it is committed."""

    def __init__(self, inner: Assignment, process: Process) -> None:
        self._inner = inner
        self._process = process

    @property
    def partition(self) -> Partition:
        return self._inner.partition

    @property
    def epoch(self) -> int:
        return self._inner.epoch

    @property
    def incarnation(self) -> str:
        return self._inner.incarnation

    @property
    def lag(self) -> int:
        return self._inner.lag

    def pause(self, reason: str) -> None:
        self._inner.pause(reason)

    def resume(self, reason: str) -> None:
        self._inner.resume(reason)

    async def commit(self, position: int) -> None:
        await self._process.call(BUS, "assignment.commit", lambda: self._commit(position))

    async def release(self, positions: Sequence[int]) -> None:
        self._process.world.note(self._process.name, "releases", f"{_at(self.partition)} {list(positions)}")
        await self._process.call(BUS, "assignment.release", lambda: self._inner.release(positions))

    async def _commit(self, position: int) -> None:
        await self._inner.commit(position)  # raises when it is over
        self._process.world.committed(self._process, self.partition, position)


class SimConsumer:
    """A consumer whose fetches come in pieces, and sometimes twice."""

    def __init__(self, inner: Consumer, process: Process) -> None:
        self._inner = inner
        self._process = process
        self._ours: dict[int, SimAssignment] = {}

    @property
    def route(self) -> Route:
        return self._inner.route

    async def assigned(self, assignment: Assignment) -> int | None:
        self._ours[id(assignment)] = ours = SimAssignment(assignment, self._process)
        position = await self._inner.assigned(ours)
        self._process.world.note(self._process.name, "assigned", f"{_at(assignment.partition)} from {position}")
        return position

    def fetched(self, assignment: Assignment, deliveries: Sequence[Delivery]) -> None:
        world = self._process.world
        ours = self._ours[id(assignment)]
        world.fetched(self._process, deliveries)
        self._inner.fetched(ours, deliveries)
        may_repeat = world.plan.repeat_rate and not world.calm and not isinstance(self.route, JobRoute)
        if may_repeat and world.chance.random() < world.plan.repeat_rate:
            again = deliveries[int(world.chance.random() * len(deliveries)) :]
            world.note(self._process.name, "repeats", f"{_at(assignment.partition)} {[one.position for one in again]}")
            self._inner.fetched(ours, again)

    async def revoked(self, assignment: Assignment) -> None:
        world, where = self._process.world, _at(assignment.partition)
        world.note(self._process.name, "revoking", where)
        try:
            await self._inner.revoked(self._ours[id(assignment)])
        finally:
            world.note(self._process.name, "revoked", where)


class SimBus:
    """Implements `Bus` over the memory bus of this process."""

    def __init__(self, process: Process) -> None:
        world = process.world
        self._process = process
        self.inner = MemoryBus(
            world.clock,
            world.log,
            limits=FetchLimits(max_rows=world.plan.fetch_rows),
            revoke_wait_s=world.plan.session_s,
        )
        self.address = self.inner.address
        self.broker: Any = self.inner.broker
        self.capabilities = BusCapabilities(
            durable=True, delay=world.plan.delays, counts_deliveries=True, broker_name="simulated"
        )

    def mount(self, consumer: Consumer, *, schema: Mapping[str, Any]) -> None:
        self.inner.mount(SimConsumer(consumer, self._process), schema=schema)

    async def open(self) -> None:
        await self.inner.open()

    async def check(self) -> None:
        await self.inner.check()

    async def start(self) -> None:
        await self.inner.start()

    async def publish(self, *envelopes: Envelope) -> None:
        await self._process.call(BUS, "publish", lambda: self._publish(envelopes))

    async def _publish(self, envelopes: Sequence[Envelope]) -> None:
        await self.inner.publish(*envelopes)
        self._process.world.published(self._process, envelopes)

    async def stop_intake(self) -> None:
        await self.inner.stop_intake()

    async def close(self) -> None:
        await self.inner.close()


def _at(partition: Partition) -> str:
    return f"{partition.address}/{partition.index}"
