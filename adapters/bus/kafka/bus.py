"""The `Bus` port over Kafka."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from aiokafka.errors import KafkaError  # type: ignore[import-untyped]
from faststream._internal.endpoint.subscriber.call_item import CallsCollection
from faststream.kafka.subscriber.config import KafkaSubscriberConfig
from faststream.middlewares import AckPolicy

from adapters.bus.identity import identified
from adapters.bus.kafka import places, topics
from adapters.bus.kafka.asking import patiently
from adapters.bus.kafka.broker import NativeKafkaBroker
from adapters.bus.kafka.connection import client_options, servers_of
from adapters.bus.kafka.history import KafkaHistory
from adapters.bus.kafka.limits import KafkaLimits
from adapters.bus.kafka.member import Member, MemberSettings
from adapters.bus.kafka.mounted import MountedSubscriber, specification
from adapters.bus.kafka.places import Place
from adapters.bus.payload import payload_schema
from contracts.errors import Conflict, Faults, Unavailable
from contracts.message import Envelope
from contracts.module import JobRoute, Route, StreamRoute
from contracts.ports.bus import BusCapabilities, Consumer
from contracts.ports.clock import Clock

JOB_GROUP = "jobs"
JOB_PARTITIONS = 1  # commands go to the ledger at once, which spreads the work; one partition keeps their order
JOB_RETENTION_S = 7 * 86400.0
DEFAULT_PARTITIONS = 8
"""Of a topic that is published to before anybody has declared it."""

DAY_MS = 24 * 3600 * 1000


class KafkaBus:
    """A native Kafka broker with the runtime's routes on it, one consumer for each of them."""

    def __init__(
        self,
        bootstrap_servers: str,
        *,
        clock: Clock,
        ledger_id: Callable[[], Awaitable[str]] | None = None,
        member: str = "",
        limits: KafkaLimits | None = None,
        session_timeout_s: float = 10.0,
        rebalance_timeout_s: float = 60.0,
        revoke_wait_s: float = 10.0,
        security: Mapping[str, Any] | None = None,
        client_id: str = "millrace",
    ) -> None:
        """`bootstrap_servers` is `host:port`, several with commas.

        `ledger_id` names the ledger of this worker: it is kept with the groups' positions, and a worker with another
        one does not start. `member` makes it a static member of its groups, so that its partitions wait for it for a
        session when it dies; it must differ between processes. `security` has aiokafka's own names.
        """
        if revoke_wait_s >= rebalance_timeout_s:
            raise Faults(
                "kafka",
                [f"revoke_wait_s {revoke_wait_s:g} must be below rebalance_timeout_s {rebalance_timeout_s:g}"],
            )
        self._servers = servers_of(bootstrap_servers)
        self._clock = clock
        self._ledger_id = ledger_id
        self._ledger = ""
        self._member = member
        self._limits = limits or KafkaLimits()
        self._revoke_wait_s = revoke_wait_s
        self._schemas: dict[str, Mapping[str, Any]] = {}
        self._mounted: list[MountedSubscriber] = []
        self._there: set[str] = set()
        """Topics that were seen to exist."""
        self._declared: dict[str, topics.Declared] = {}
        self._client_options = client_options(self._servers, client_id, security or {})
        self._options = {
            **self._client_options,
            **_consuming(self._limits, session_timeout_s, rebalance_timeout_s),
        }
        self._broker = NativeKafkaBroker(
            self._servers,
            client_id=client_id,
            security=security or {},
            limits=self._limits,
            clock=clock,
            connected=self._make_topics,
            starting=self._look_at_groups,
            logger=logging.getLogger("millrace.bus"),
            log_level=logging.DEBUG,
        )

    @property
    def capabilities(self) -> BusCapabilities:
        return BusCapabilities(durable=True, delay=False, broker_name="kafka")

    @property
    def broker(self) -> NativeKafkaBroker:
        return self._broker

    @property
    def history(self) -> KafkaHistory:
        return KafkaHistory(self._client_options, address=self.address, clock=self._clock, limits=self._limits)

    @property
    def address(self) -> str:
        return f"kafka://{','.join(self._servers)}"

    def mount(self, consumer: Consumer, *, schema: Mapping[str, Any]) -> None:
        """Make the route a native subscriber. Raises `Conflict` once started, `Faults` for what cannot be mounted."""
        route = consumer.route
        if self._broker.running:
            raise Conflict(f"{route.address} cannot be mounted: the bus has started; mount before `start`")
        group = group_of(route)
        if any(known.group == group for known in self._mounted):
            raise Faults(
                f"address {route.address}",
                [f"group {group!r} is mounted twice: name another group, or consume it in one place"],
            )
        self._declare(declared_by(route))
        calls: CallsCollection[Any] = CallsCollection()
        config = self._broker.config
        subscriber = MountedSubscriber(
            KafkaSubscriberConfig(
                group_id=group,
                no_reply=True,
                _outer_config=config,  # type: ignore[arg-type]  # a composition of configs behaves as one
                _ack_policy=AckPolicy.MANUAL,
            ),
            specification(
                config,
                topic=route.address,
                group=group,
                summary=route.summary,
                payload=payload_schema(schema, route.address, self._schemas),
                calls=calls,
            ),
            calls,
            consumer=consumer,
            member=lambda: self._member_of(consumer, group),
            options=self._options | ({"group_instance_id": self._member} if self._member else {}),
            limits=self._limits,
            clock=self._clock,
        )
        self._broker.register(subscriber)
        self._mounted.append(subscriber)

    async def open(self) -> None:
        """Also makes the topics that are not there. Raises `Faults` for those that this worker may not make."""
        await self._broker.connect()

    async def check(self) -> None:
        try:
            await self._broker.admin.describe_cluster()
        except KafkaError as error:
            raise Unavailable("kafka", f"{self.address}: {error or type(error).__name__}") from error
        if faults := [fault for subscriber in self._mounted for fault in subscriber.faults]:
            raise Unavailable("kafka", f"consumers fail: {'; '.join(faults)}")

    async def start(self) -> None:
        """Raises `Faults` when a group is kept with another ledger."""
        await self._broker.start()

    async def publish(self, *envelopes: Envelope) -> None:
        """An unsafe or missing id or correlation id is replaced. A topic that nobody has declared yet is made. Raises
        `BadInput` for what is too large for Kafka."""
        for address in sorted({envelope.address for envelope in envelopes} - self._there):
            await self._make_sure_of(address)
        await self._broker.publish_all([identified(envelope, self._clock) for envelope in envelopes])

    async def stop_intake(self) -> None:
        for subscriber in self._mounted:
            subscriber.drain()

    async def close(self) -> None:
        """Revoke every partition, awaiting its consumer with a deadline, leave the groups, and disconnect."""
        await self._broker.stop()

    async def abandon(self) -> None:
        """Close every socket and end every task without a word to anybody: what was not committed comes again
        elsewhere when the session has run out."""
        await self._broker.abandon()

    def _declare(self, wanted: topics.Declared) -> None:
        known = self._declared.get(wanted.name, wanted)
        if wanted.partitions < 1:
            raise Faults(f"address {wanted.name}", [f"{wanted.partitions} partitions: at least 1 is needed"])
        if known.partitions != wanted.partitions:
            raise Faults(
                f"address {wanted.name}",
                [
                    f"declared with {wanted.partitions} partitions, and with {known.partitions} before: "
                    "declare one number"
                ],
            )
        # Of two routes the one that wants to look back further has its way.
        self._declared[wanted.name] = max(known, wanted, key=lambda one: one.retention_s)

    async def _make_topics(self) -> None:
        async def make() -> None:
            await topics.make(self._broker.admin, self._declared.values(), self._clock)

        await patiently(make, self._clock, wait_s=self._limits.open_wait_s, what=self.address)

    async def _make_sure_of(self, address: str) -> None:
        """What is emitted may come before whoever reads it: it must neither be lost nor keep back what is behind it."""
        plain = topics.Declared(name=address, partitions=DEFAULT_PARTITIONS, retention_s=JOB_RETENTION_S)
        wanted = self._declared.get(address, plain)

        async def make() -> None:
            if address not in await topics.look_up(self._broker.admin, [address]):
                await topics.make(self._broker.admin, [wanted], self._clock)

        await patiently(make, self._clock, wait_s=self._limits.publish_wait_s, what=self.address)
        self._there.add(address)

    async def _look_at_groups(self) -> None:
        self._ledger = await self._ledger_id() if self._ledger_id else ""

        async def look() -> None:
            for subscriber in self._mounted:
                committed = await places.committed_by(self._broker.admin, subscriber.group)
                places.refuse_another_ledger(committed, group=subscriber.group, ledger=self._ledger)

        await patiently(look, self._clock, wait_s=self._limits.open_wait_s, what=self.address)

    def _member_of(self, consumer: Consumer, group: str) -> Member:
        topic = consumer.route.address

        async def look_up(client: Any, indices: Collection[int]) -> Mapping[int, Place]:
            return await places.look_up(self._broker.admin, client, topic, indices, group=group, ledger=self._ledger)

        settings = MemberSettings(
            topic=topic,
            group=group,
            ledger=self._ledger,
            limits=self._limits,
            revoke_wait_s=self._revoke_wait_s,
            member=self._member,
        )
        return Member(consumer, settings, self._clock, look_up)


def group_of(route: Route) -> str:
    """One group for each route, so that a rebalance of one (a module mounted, a topic that grows) leaves the others
    alone, and the lag of each is seen by itself."""
    name = JOB_GROUP if isinstance(route, JobRoute) else route.group or "default"
    return f"{name}.{route.address}"


def declared_by(route: Route) -> topics.Declared:
    """What the topic of a route is made with."""
    match route:
        case JobRoute():
            return topics.Declared(name=route.address, partitions=JOB_PARTITIONS, retention_s=JOB_RETENTION_S)
        case StreamRoute():
            return topics.Declared(name=route.address, partitions=route.partitions, retention_s=route.retention_s)


def _consuming(limits: KafkaLimits, session_timeout_s: float, rebalance_timeout_s: float) -> dict[str, Any]:
    return {
        "enable_auto_commit": False,
        # Where to begin is always said; where that is not there, it is looked into and not skipped over.
        "auto_offset_reset": "none",
        "isolation_level": "read_committed",
        "session_timeout_ms": int(session_timeout_s * 1000),
        # How soon members learn that another one left, or came.
        "heartbeat_interval_ms": int(min(1.0, session_timeout_s / 6) * 1000),
        "rebalance_timeout_ms": int(rebalance_timeout_s * 1000),
        # No handler runs in the poll loop, so that it polls says nothing that heartbeats don't: it can't cost the
        # membership.
        "max_poll_interval_ms": DAY_MS,
        # How soon it is seen that a topic has grown.
        "metadata_max_age_ms": 60_000,
        "max_partition_fetch_bytes": limits.partition_fetch_bytes,
        "fetch_max_bytes": limits.fetch_bytes,
        "fetch_max_wait_ms": int(limits.fetch_wait_s * 1000),
    }
