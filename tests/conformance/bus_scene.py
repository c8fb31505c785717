"""What the bus suite is played with: a backing that buses share, and consumers that write down what they see."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol

import msgspec

from contracts.errors import LeaseLost
from contracts.message import Delivery, Envelope, Partition
from contracts.module import JobRoute, Retry, Route, StreamRoute
from contracts.ports.bus import Assignment, Bus
from contracts.ports.clock import Clock

PATIENCE_S = 15.0


class Backing(Protocol):
    """One place that several buses share, and what only a test does to it. An implementation brings its own."""

    @property
    def clock(self) -> Clock: ...

    @property
    def partitions(self) -> int:
        """What routes of the suite are declared with."""
        ...

    @property
    def fetch_rows(self) -> int:
        """The most deliveries that one `fetched` may carry."""
        ...

    @property
    def big_bytes(self) -> int:
        """The largest payload that is promised to pass."""
        ...

    @property
    def revoke_wait_s(self) -> float:
        """How long the buses wait for `revoked`."""
        ...

    @property
    def publish_bound(self) -> int | None:
        """How many messages an address takes that nobody commits, or None when the bus has no such bound."""
        ...

    def bus(self) -> Bus:
        """A new bus on this backing, not open."""
        ...

    async def crash(self, bus: Bus) -> None:
        """The bus dies without a word, as its process would; returns when its partitions are free for others."""
        ...

    async def publish_from_outside(
        self, bus: Bus, address: str, body: bytes, *, headers: Mapping[str, str], correlation_id: str | None
    ) -> None:
        """Publish as a stranger does: through the native client, with no envelope of ours."""
        ...

    async def let_pass(self, delay_s: float) -> None:
        """So much of the buses' time goes by."""
        ...

    async def quiet(self) -> None:
        """Returns when whatever the buses had to do at once is surely done."""
        ...


class Order(msgspec.Struct):
    """The payload of the suite's routes."""

    number: int
    note: str = ""


async def handle(order: Order) -> None:
    """Take an order."""


def stream(address: str, partitions: int, *, group: str = "suite") -> StreamRoute:
    return StreamRoute(
        address=address,
        contract=Order,
        handler=handle,
        retry=Retry(),
        timeout_s=30.0,
        lanes=8,
        partitions=partitions,
        overrun="requeue",
        group=group,
        summary="Take an order.",
    )


def job(address: str) -> JobRoute:
    return JobRoute(
        address=address,
        contract=Order,
        handler=handle,
        retry=Retry(),
        timeout_s=30.0,
        concurrency=1,
        overrun="checkpoint",
        summary="Take an order.",
    )


async def _nothing(_: Assignment) -> None:
    return None


def ignore(_: Assignment, __: Sequence[Delivery]) -> None:
    return None


class Recorder:
    """A consumer that writes down what it sees. `commits` makes it finish each fetch on the spot."""

    def __init__(self, route: Route, changed: Callable[[], None], *, commits: bool = False) -> None:
        self._route = route
        self._changed = changed
        self._commits = commits
        self.held: dict[Partition, Assignment] = {}
        self.epochs: dict[Partition, list[int]] = defaultdict(list)
        self.fetches: list[list[Delivery]] = []
        self.revocations: list[Partition] = []
        self.on_assigned: Callable[[Assignment], Awaitable[None]] = _nothing
        self.on_revoked: Callable[[Assignment], Awaitable[None]] = _nothing
        self.on_fetched: Callable[[Assignment, Sequence[Delivery]], None] = ignore
        self._committing: set[asyncio.Task[None]] = set()

    @property
    def route(self) -> Route:
        return self._route

    async def assigned(self, assignment: Assignment) -> None:
        assert assignment.partition not in self.held, "assigned twice without a revocation"
        await self.on_assigned(assignment)
        self.epochs[assignment.partition].append(assignment.epoch)
        self.held[assignment.partition] = assignment
        self._changed()

    def fetched(self, assignment: Assignment, deliveries: Sequence[Delivery]) -> None:
        assert deliveries, "an empty fetch"
        assert self.held.get(assignment.partition) is assignment, "fetched for a partition that is not ours"
        assert all(delivery.partition == assignment.partition for delivery in deliveries)
        positions = [delivery.position for delivery in deliveries]
        assert positions == sorted(set(positions)), "not in order of position"
        self.fetches.append(list(deliveries))
        self.on_fetched(assignment, deliveries)
        if self._commits:
            task = asyncio.get_running_loop().create_task(self._commit(assignment, positions[-1] + 1))
            self._committing.add(task)
            task.add_done_callback(self._committing.discard)
        self._changed()

    async def revoked(self, assignment: Assignment) -> None:
        await self.on_revoked(assignment)
        if self._committing:
            await asyncio.wait(set(self._committing))
        assert self.held.pop(assignment.partition) is assignment
        self.revocations.append(assignment.partition)
        self._changed()

    async def _commit(self, assignment: Assignment, position: int) -> None:
        try:
            await assignment.commit(position)
        except LeaseLost:
            return
        self._changed()

    @property
    def deliveries(self) -> list[Delivery]:
        return [delivery for fetch in self.fetches for delivery in fetch]

    @property
    def numbers(self) -> list[int]:
        """What arrived, as the numbers that `Scene.publish` gave."""
        return [msgspec.json.decode(delivery.envelope.body, type=Order).number for delivery in self.deliveries]

    async def commit_all(self) -> None:
        """Finish everything that arrived on what is held."""
        for delivery in self.deliveries:
            if assignment := self.held.get(delivery.partition):
                await assignment.commit(delivery.position + 1)


class Scene:
    """Buses, recorders and publishers of one test; closes every bus at the end."""

    def __init__(self, backing: Backing) -> None:
        self.backing = backing
        self.clock = backing.clock
        self.address = f"suite.{backing.clock.new_id()}"
        self._changed = asyncio.Event()
        self._buses: list[Bus] = []
        self._published = 0

    async def __aenter__(self) -> Scene:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for bus in self._buses:
            await bus.close()

    def recorder(self, *, group: str = "suite", commits: bool = False) -> Recorder:
        return Recorder(stream(self.address, self.backing.partitions, group=group), self._changed.set, commits=commits)

    def job_recorder(self) -> Recorder:
        return Recorder(job(self.address), self._changed.set)

    def unopened(self, *recorders: Recorder) -> Bus:
        bus = self.backing.bus()
        for recorder in recorders:
            bus.mount(recorder, schema=msgspec.json.schema(Order))
        self._buses.append(bus)
        return bus

    async def start(self, *recorders: Recorder) -> Bus:
        """A bus with these routes, fetching."""
        bus = self.unopened(*recorders)
        await bus.open()
        await bus.start()
        return bus

    async def crash(self, bus: Bus) -> None:
        self._buses.remove(bus)
        await self.backing.crash(bus)

    async def publish(self, bus: Bus, count: int = 1, *, keys: Sequence[str | None] = (None,)) -> list[Envelope]:
        """`count` orders with rising numbers, the keys in turn."""
        envelopes = []
        for _ in range(count):
            number = self._published
            self._published += 1
            envelope = self.envelope(msgspec.json.encode(Order(number=number)), key=keys[number % len(keys)])
            await bus.publish(envelope)
            envelopes.append(envelope)
        return envelopes

    def envelope(self, body: bytes, *, key: str | None = None, **fields: Any) -> Envelope:
        new_id = self.clock.new_id
        given = {"id": new_id(), "address": self.address, "body": body, "correlation_id": new_id(), **fields}
        return Envelope(key=key, **given)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Returns once a recorder's note made it true; a test fails that waits too long."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def all_held(self, *recorders: Recorder) -> None:
        """Returns once every partition is held by one of these."""
        await self.until(lambda: sum(len(recorder.held) for recorder in recorders) == self.backing.partitions)
