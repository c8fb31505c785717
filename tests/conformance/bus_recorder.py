"""What the bus suite mounts: routes, and consumers that write down what they see."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from contracts.errors import LeaseLost, Unavailable
from contracts.message import Delivery, Partition
from contracts.module import JobRoute, Retry, Route, StreamRoute
from contracts.ports.bus import Assignment

END = "suite-end"
"""The header of a message that only says that nothing before it is still on its way."""


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


async def _where_the_bus_says(_: Assignment) -> int | None:
    return None


async def _let_go(_: Assignment) -> None:
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
        self.fetches: list[list[Delivery]] = []
        self.seen: list[tuple[Assignment, Delivery]] = []
        self.ends: set[str] = set()
        """The ids of the messages with the header `END`, which are left out of all else."""
        self.revocations: list[Partition] = []
        self.on_assigned: Callable[[Assignment], Awaitable[int | None]] = _where_the_bus_says
        self.on_revoked: Callable[[Assignment], Awaitable[None]] = _let_go
        self.on_fetched: Callable[[Assignment, Sequence[Delivery]], None] = ignore
        self.crashed = False
        """Its bus died, so that nobody can say what became of the commits under way."""
        self._committing: set[asyncio.Task[None]] = set()

    @property
    def route(self) -> Route:
        return self._route

    async def assigned(self, assignment: Assignment) -> int | None:
        assert assignment.partition not in self.held, "assigned twice without a revocation"
        position = await self.on_assigned(assignment)
        self.held[assignment.partition] = assignment
        self._changed()
        return position

    def fetched(self, assignment: Assignment, deliveries: Sequence[Delivery]) -> None:
        assert deliveries, "an empty fetch"
        assert self.held.get(assignment.partition) is assignment, "fetched for a partition that is not ours"
        assert all(delivery.partition == assignment.partition for delivery in deliveries)
        positions = [delivery.position for delivery in deliveries]
        assert positions == sorted(set(positions)), "not in order of position"
        self.ends |= {delivery.envelope.id for delivery in deliveries if END in delivery.envelope.headers}
        if told := [delivery for delivery in deliveries if END not in delivery.envelope.headers]:
            self.fetches.append(told)
            self.seen.extend((assignment, delivery) for delivery in told)
            self.on_fetched(assignment, told)
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
        except Unavailable:
            if not self.crashed:
                raise
        self._changed()

    @property
    def deliveries(self) -> list[Delivery]:
        return [delivery for _, delivery in self.seen]

    @property
    def numbers(self) -> list[int]:
        """What arrived, as the numbers that `Scene.publish` gave."""
        return [number_of(delivery) for delivery in self.deliveries]

    def assignment_of(self, delivery: Delivery) -> Assignment:
        """That of its partition as it is held now."""
        return self.held[delivery.partition]

    def pause(self, reason: str) -> None:
        """Pause everything that is held."""
        for assignment in self.held.values():
            assignment.pause(reason)

    def resume(self, reason: str) -> None:
        for assignment in self.held.values():
            assignment.resume(reason)

    async def commit_all(self) -> None:
        """Finish everything that arrived on what is held."""
        ends = {delivery.partition: delivery.position + 1 for delivery in self.deliveries}
        for delivery in self.deliveries:
            ends[delivery.partition] = max(ends[delivery.partition], delivery.position + 1)
        for partition, position in ends.items():
            if assignment := self.held.get(partition):
                await assignment.commit(position)

    def __repr__(self) -> str:
        held = sorted(partition.index for partition in self.held)
        return f"<Recorder of {self._route.address}: holds {held}, saw {len(self.seen)} messages>"


def number_of(delivery: Delivery) -> int:
    return msgspec.json.decode(delivery.envelope.body, type=Order).number


def by_key(deliveries: Sequence[Delivery]) -> dict[str | None, list[int]]:
    """The numbers that arrived, for each key in the order of arrival."""
    numbers: dict[str | None, list[int]] = {}
    for delivery in deliveries:
        numbers.setdefault(delivery.envelope.key, []).append(number_of(delivery))
    return numbers


def in_order_of_key(deliveries: Sequence[Delivery]) -> bool:
    return all(numbers == sorted(numbers) for numbers in by_key(deliveries).values())
