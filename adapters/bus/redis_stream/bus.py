"""The `Bus` port over Redis Streams."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from faststream._internal.broker.registrator import Registrator
from faststream._internal.endpoint.subscriber.call_item import CallsCollection
from faststream.middlewares import AckPolicy
from faststream.redis import RedisBroker, StreamSub
from faststream.redis.subscriber.config import RedisSubscriberConfig, RedisSubscriberSpecificationConfig

from adapters.bus.identity import identified
from adapters.bus.payload import payload_schema
from adapters.bus.redis_stream import keys
from adapters.bus.redis_stream.history import RedisHistory
from adapters.bus.redis_stream.link import Link
from adapters.bus.redis_stream.member import FetchLimits, Member, Terms
from adapters.bus.redis_stream.mounted import MountedSubscriber
from adapters.bus.redis_stream.publishing import Addresses, Publisher, remembered
from adapters.bus.redis_stream.reader import FetchLoop
from adapters.bus.redis_stream.received import EnvelopeCommand, EnvelopeProducer
from adapters.bus.redis_stream.server import NAME, Server
from adapters.bus.redis_stream.specification import MountedSpecification
from contracts.errors import Conflict, Faults, Unavailable
from contracts.message import Envelope
from contracts.module import JobRoute, Route, StreamRoute
from contracts.ports.bus import BusCapabilities, Consumer
from contracts.ports.clock import Clock
from contracts.ports.secrets import Credential

JOB_GROUP = "jobs"
JOB_PARTITIONS = 1  # commands go to the ledger at once, which spreads the work; one partition keeps their order
JOB_RETENTION_S = 7 * 86400.0
TIME_CHARS, ID_CHARS = 12, 12


class RedisStreamBus:
    """A FastStream `RedisBroker` with the runtime's routes on streams that we read ourselves.

    `member_id` names this process for people; what is made of it is unique, so that no two processes are ever taken
    for one. A process that dies keeps its partitions for `lease_s`; one that closes gives them back at once. Of what
    every group has finished, `keep_finished` entries a stream are kept, and none older than the route's retention.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Clock,
        ledger_id: Callable[[], Awaitable[str]] | None = None,
        member_id: str = "millrace",
        limits: FetchLimits | None = None,
        lease_s: float = 10.0,
        revoke_wait_s: float = 10.0,
        timeout_s: float = 5.0,
        keep_finished: int = 10_000,
        password: Credential | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`rediss://` is TLS, by the options in the URL's query or by `tls`. `password` is that of the URL's user, and
        is looked up for each connection. `timeout_s` bounds every round trip."""
        self._server = Server(url, password=password, tls=tls, connect_timeout_s=timeout_s)
        self._clock = clock
        self._ledger_id = ledger_id
        unique = clock.new_id()
        # Names are in the order in which members came, give or take their clocks.
        self._member_id = f"{member_id}.{unique[:TIME_CHARS]}{unique[-ID_CHARS:]}"
        self._timeout_s = timeout_s
        self._terms = Terms(
            limits=limits or FetchLimits(),
            lease_s=lease_s,
            revoke_wait_s=revoke_wait_s,
            keep_finished=keep_finished,
        )
        self._broker = RedisBroker(
            self._server.url,
            specification_url=self._server.address,
            logger=logging.getLogger("millrace.bus"),
            log_level=logging.DEBUG,
            **self._server.options,
        )
        self._addresses = Addresses()
        self._mounted: list[MountedSubscriber] = []
        self._schemas: dict[str, Mapping[str, Any]] = {}
        self._control: Link | None = None
        self._commits: Link | None = None
        self._publisher: Publisher | None = None
        self._publishes: Link | None = None

    @property
    def capabilities(self) -> BusCapabilities:
        return BusCapabilities(durable=True, delay=False, counts_deliveries=True, broker_name="redis-stream")

    @property
    def broker(self) -> RedisBroker:
        return self._broker

    @property
    def history(self) -> RedisHistory:
        return RedisHistory(self._server, clock=self._clock, timeout_s=self._timeout_s)

    @property
    def address(self) -> str:
        return self._server.address

    def declare(self, address: str, partitions: int) -> None:
        """For who publishes to an address that it doesn't read: how many partitions its reader declares."""
        self._addresses.declare(address, partitions)

    def mount(self, consumer: Consumer, *, schema: Mapping[str, Any]) -> None:
        """Make the route a native subscriber. Raises `Conflict` once started, `Faults` for what cannot be mounted."""
        route = consumer.route
        if self._broker.running:
            raise Conflict(f"{route.address} cannot be mounted: the bus has started; mount before `start`")
        group, partitions, _ = _place_of(route)
        if any(known.topic == route.address and known.group == group for known in self._mounted):
            raise Faults(
                f"address {route.address}",
                [f"group {group!r} is mounted twice: name another group, or consume it in one place"],
            )
        self._addresses.declare(route.address, partitions)
        subscriber = self._subscriber(consumer, group, schema)
        Registrator.subscriber(self._broker, subscriber)
        self._mounted.append(subscriber)

    async def open(self) -> None:
        """Connect. Raises `Unavailable`."""
        if self._control is not None:
            return
        self._control, self._commits = self._link("control"), self._link("commits")
        self._publishes = self._link("publish")
        self._publisher = Publisher(self._publishes, self._addresses, clock=self._clock)
        try:
            await self._control.call("PING")
            await self._broker.connect()
        except BaseException:
            await self._disconnect()
            raise

    async def check(self) -> None:
        await self._opened().call("PING")
        faults = [fault for subscriber in self._mounted for fault in subscriber.faults]
        if faults:
            raise Unavailable(NAME, f"consumers fail: {'; '.join(faults)}")

    async def start(self) -> None:
        """Join the groups. Raises `Faults` where an address has another number of partitions, or a group another
        ledger."""
        self._opened()
        await self._broker.start()

    async def publish(self, *envelopes: Envelope) -> None:
        """Returns once Redis has confirmed all, in this order. An unsafe or missing identity is replaced."""
        self._opened()
        assert self._publisher is not None
        ready = [identified(envelope, self._clock) for envelope in envelopes]
        if not self._broker.middlewares:
            await self._publisher.publish(ready)
            return
        producer = EnvelopeProducer(self._publisher)
        for envelope in ready:
            await self._broker._basic_publish(EnvelopeCommand.of(envelope), producer=producer)

    async def stop_intake(self) -> None:
        for subscriber in self._mounted:
            subscriber.drain()

    async def close(self) -> None:
        """Revoke every partition, awaiting its consumer with a deadline, and disconnect."""
        try:
            await self._broker.stop()
        finally:
            await self._disconnect()

    def evict(self) -> None:
        """Be gone at once and without a word, as if the process had died: leases run out, nobody is asked."""
        for subscriber in self._mounted:
            subscriber.evict()
        for link in (self._control, self._commits, self._publishes):
            if link is not None:
                link.abandon()

    # --- its parts

    def _link(self, name: str) -> Link:
        return Link(self._server, clock=self._clock, timeout_s=self._timeout_s, name=name)

    def _opened(self) -> Link:
        if self._control is None:
            raise Unavailable(NAME, "the bus is not open; call `open()` first")
        return self._control

    async def _disconnect(self) -> None:
        links = (self._control, self._commits, self._publishes)
        self._control = self._commits = self._publishes = self._publisher = None
        for link in links:
            if link is not None:
                await link.close()

    async def _join(self, subscriber: MountedSubscriber) -> tuple[Member, FetchLoop]:
        control, commits = self._opened(), self._commits
        assert commits is not None
        route = subscriber.consumer.route
        group, _, retention_s = _place_of(route)
        if isinstance(route, JobRoute):  # its order is of no matter beyond a partition: what is there will do
            partitions = await self._addresses.partitions(route.address, control, anew=True)
        else:
            partitions = await self._addresses.agreed(route.address, control)
        ledger = await self._agree_on_ledger(route.address, group, control)
        member = Member(
            subscriber.consumer,
            member_id=self._member_id,
            group=group,
            partitions=partitions,
            retention_s=retention_s,
            ledger=ledger,
            commits=commits,
            clock=self._clock,
            terms=self._terms,
        )
        fetching = FetchLoop(member, self._server, control, clock=self._clock, timeout_s=self._timeout_s)
        member.reader = fetching
        await member.join(control)
        return member, fetching

    async def _agree_on_ledger(self, address: str, group: str, control: Link) -> str:
        if self._ledger_id is None:
            return ""
        mine = await self._ledger_id()
        about = keys.group_about(address, group)
        known = await remembered(control, about, "ledger", mine)
        if known != mine:
            raise Faults(
                f"group {group!r} of {address}",
                [
                    f"its positions are kept in the ledger {known}, and this worker has the ledger {mine}: give all "
                    f"workers of the group one database, or, if that ledger is gone for good, delete {about} in Redis"
                ],
            )
        return mine

    def _subscriber(self, consumer: Consumer, group: str, schema: Mapping[str, Any]) -> MountedSubscriber:
        route = consumer.route
        stream = StreamSub(route.address, group=group, consumer=self._member_id)
        calls: CallsCollection[Any] = CallsCollection()
        outer: Any = self._broker.config  # a composition of configs behaves as one
        subscriber = MountedSubscriber(
            RedisSubscriberConfig(
                stream_sub=stream,
                no_reply=True,
                _outer_config=outer,
                _ack_policy=AckPolicy.MANUAL,
            ),
            MountedSpecification(
                outer,
                RedisSubscriberSpecificationConfig(
                    title_=None,
                    description_=route.summary or None,
                    include_in_schema=True,
                ),
                calls,
                stream,
                payload=payload_schema(schema, route.address, self._schemas),
            ),
            calls,
            consumer=consumer,
            clock=self._clock,
            join=self._join,
        )
        subscriber(subscriber.handed_over)
        return subscriber


def _place_of(route: Route) -> tuple[str, int, float]:
    match route:
        case JobRoute():
            return JOB_GROUP, JOB_PARTITIONS, JOB_RETENTION_S
        case StreamRoute():
            return route.group or "default", route.partitions, route.retention_s
