"""The `Bus` port over the memory broker."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from faststream._internal.endpoint.subscriber.call_item import CallsCollection
from faststream.middlewares import AckPolicy

from adapters.bus.identity import identified
from adapters.bus.memory.broker import MemoryBroker
from adapters.bus.memory.config import MemorySubscriberConfig, MemorySubscriberSpecificationConfig
from adapters.bus.memory.history import MemoryHistory
from adapters.bus.memory.log import MemoryLog
from adapters.bus.memory.message import Received
from adapters.bus.memory.mounted import FetchLimits, MountedSubscriber
from adapters.bus.memory.specification import MemorySubscriberSpecification
from adapters.bus.payload import payload_schema
from contracts.errors import Conflict, Faults, Unavailable
from contracts.message import Envelope
from contracts.module import JobRoute, Route, StreamRoute
from contracts.ports.bus import BusCapabilities, Consumer
from contracts.ports.clock import Clock

JOB_GROUP = "jobs"
JOB_PARTITIONS = 1  # commands go to the ledger at once, which spreads the work; one partition keeps their order


class MemoryBus:
    """A memory broker with the runtime's routes on it; buses that share a `MemoryLog` share its messages.

    A bus that is closed, or evicted, leaves what it did not commit to the other members of its groups. One that is
    simply forgotten goes on owning its partitions: `evict` it.
    """

    def __init__(
        self,
        clock: Clock,
        log: MemoryLog | None = None,
        *,
        limits: FetchLimits | None = None,
        revoke_wait_s: float = 10.0,
        broker: MemoryBroker | None = None,
    ) -> None:
        """Without a `log`, the bus has the broker's, or one of its own; `broker` is made unless given."""
        if broker and log and broker.log is not log:
            raise ValueError("the broker has another log: give the bus the broker, or the log, not two that differ")
        self._clock = clock
        self._log = log or (broker.log if broker else MemoryLog(clock))
        self._limits = limits or FetchLimits()
        self._revoke_wait_s = revoke_wait_s
        self._broker = broker or MemoryBroker(
            self._log, logger=logging.getLogger("millrace.bus"), log_level=logging.DEBUG
        )
        self._mounted: list[MountedSubscriber] = []
        self._schemas: dict[str, Mapping[str, Any]] = {}

    @property
    def capabilities(self) -> BusCapabilities:
        return BusCapabilities(durable=False, delay=True, counts_deliveries=True, broker_name="memory")

    @property
    def broker(self) -> MemoryBroker:
        return self._broker

    @property
    def log(self) -> MemoryLog:
        """The shared state: its statistics, its dead letters."""
        return self._log

    @property
    def history(self) -> MemoryHistory:
        return MemoryHistory(self._log)

    @property
    def address(self) -> str:
        return "memory://in-process"

    def mount(self, consumer: Consumer, *, schema: Mapping[str, Any]) -> None:
        """Make the route a native subscriber. Raises `Conflict` once started, `Faults` for what cannot be mounted."""
        route = consumer.route
        if self._broker.running:
            raise Conflict(f"{route.address} cannot be mounted: the bus has started; mount before `start`")
        group, partitions = _place_of(route)
        if any(known.topic == route.address and known.group == group for known in self._mounted):
            raise Faults(
                f"address {route.address}",
                [f"group {group!r} is mounted twice: name another group, or consume it in one place"],
            )
        # A delayed command is recorded at once: the ledger outlives this process, and is asked when it is due.
        self._log.declare(route.address, partitions, delays=not isinstance(route, JobRoute))
        subscriber = self._subscriber(consumer, group, partitions, schema)
        self._mounted.append(subscriber)

    async def open(self) -> None:
        await self._broker.connect()

    async def check(self) -> None:
        if not await self._broker.ping():
            raise Unavailable("the memory bus", "it is not open")
        faults = [subscriber.fault for subscriber in self._mounted if subscriber.fault]
        for subscriber in self._mounted:
            if subscriber.member:
                faults.extend(f"{subscriber.topic}: {fault}" for fault in subscriber.member.faults.values())
        if faults:
            raise Unavailable("the memory bus", f"consumers fail: {'; '.join(faults)}")

    async def start(self) -> None:
        await self._broker.start()

    async def publish(self, *envelopes: Envelope) -> None:
        """Returns once all are kept, in this order. An unsafe or missing id or correlation id is replaced."""
        for envelope in envelopes:
            await self._broker.publish_envelope(identified(envelope, self._clock))

    async def stop_intake(self) -> None:
        """Native subscribers of the application take nothing more either."""
        for subscriber in self._broker.memory_subscribers:
            subscriber.drain()

    async def close(self) -> None:
        """Revoke every partition, awaiting its consumer with a deadline, and disconnect."""
        await self._broker.stop()

    def evict(self) -> None:
        """Put this bus out of all its groups at once and without asking: it does not answer any more."""
        for subscriber in self._mounted:
            if subscriber.member:
                subscriber.member.evict()

    def freeze(self) -> None:
        """A fault to play with: this bus stalls until its groups have given its partitions to others. What it commits
        is refused from now on, and its consumers are not told before `thaw`."""
        for subscriber in self._mounted:
            if subscriber.member:
                subscriber.member.freeze()

    async def thaw(self) -> None:
        """It goes on: its consumers are told what was lost, and it takes part again."""
        for subscriber in self._mounted:
            if subscriber.member:
                await subscriber.member.thaw()

    def _subscriber(
        self, consumer: Consumer, group: str, partitions: int, schema: Mapping[str, Any]
    ) -> MountedSubscriber:
        route = consumer.route
        calls: CallsCollection[Received] = CallsCollection()
        config = self._broker.config
        subscriber = MountedSubscriber(
            MemorySubscriberConfig(
                topic=route.address,
                group=group,
                partitions=partitions,
                no_reply=True,
                _outer_config=config,  # type: ignore[arg-type]  # a composition of configs behaves as one
                _ack_policy=AckPolicy.MANUAL,
            ),
            MemorySubscriberSpecification(
                config,  # type: ignore[arg-type]
                MemorySubscriberSpecificationConfig(
                    topic=route.address,
                    group=group,
                    title_=f"{route.address}:{group}",
                    description_=route.summary or None,
                    payload=payload_schema(schema, route.address, self._schemas),
                ),
                calls,
            ),
            calls,
            consumer=consumer,
            limits=self._limits,
            revoke_wait_s=self._revoke_wait_s,
        )
        self._broker.register(subscriber)
        return subscriber


def _place_of(route: Route) -> tuple[str, int]:
    match route:
        case JobRoute():
            return JOB_GROUP, JOB_PARTITIONS
        case StreamRoute():
            return route.group or "default", route.partitions
