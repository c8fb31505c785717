from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiokafka.client  # type: ignore[import-untyped]
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete  # type: ignore[import-untyped]
from aiokafka.structs import TopicPartition  # type: ignore[import-untyped]
from faststream import BaseMiddleware

from adapters.bus.kafka.bus import KafkaBus
from adapters.bus.kafka.limits import KafkaLimits
from adapters.clock.system import SystemClock
from contracts.ports.bus import Bus
from tests.conformance.bus_suite import PROMISES, Promise, bus_dying, bus_messages, name_of
from tests.kit import services
from tests.kit.proxy import Proxy

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

FREEZERS = 3
FETCH_WAIT_S = 0.1
FROZEN = {
    bus_dying.who_was_taken_for_dead_is_refused_when_it_wakes_up,
    bus_dying.who_was_taken_for_dead_takes_part_again,
}

THROUGH_MIDDLEWARES = [
    promise
    for promise in PROMISES
    if promise.__module__.rpartition(".")[2] in {"bus_messages", "bus_flow", "bus_strangers"}
]
"""What a message on its own way can change; the rest is the same code."""


class Passing(BaseMiddleware):
    """Sees every message, changes none."""

    consumed = 0
    published = 0

    async def consume_scope(self, call_next: Any, msg: Any) -> Any:
        type(self).consumed += 1
        return await call_next(msg)

    async def publish_scope(self, call_next: Any, cmd: Any) -> Any:
        type(self).published += 1
        return await call_next(cmd)


class KafkaBacking:
    """Buses on one broker; those that may be frozen reach it through a proxy each.

    A broker names one address to all of its clients, so it is the client that goes through the proxy: aiokafka asks
    `ways` by its client id where to connect to.
    """

    partitions = 4
    extra_partitions = 0
    fetch_rows = 50
    fetch_bytes = 256 * 1024
    big_bytes = 1_000_000
    revoke_wait_s = 1.0
    session_s = 3.0
    patience_s = 20.0
    publish_bound = None
    tells_what_was_deleted = True

    def __init__(
        self,
        url: str,
        producer: AIOKafkaProducer,
        ways: dict[str, Proxy],
        middlewares: tuple[type[BaseMiddleware], ...],
    ) -> None:
        self.clock = SystemClock()
        self.url = url
        self.security: Mapping[str, Any] = {}
        """Of the buses; strangers come by the listener that asks nobody."""
        self._open_url = url
        self._producer = producer
        self._ways = ways
        self._free = list(ways)
        self._named: dict[Bus, str] = {}
        self._middlewares = middlewares

    def bus(self) -> KafkaBus:
        name = self._free.pop(0) if self._free else "suite"
        bus = KafkaBus(
            self.url,
            clock=self.clock,
            limits=KafkaLimits(max_rows=self.fetch_rows, max_bytes=self.fetch_bytes, fetch_wait_s=FETCH_WAIT_S),
            session_timeout_s=self.session_s,
            rebalance_timeout_s=10.0,
            revoke_wait_s=self.revoke_wait_s,
            client_id=name,
            security=self.security,
        )
        for middleware in self._middlewares:
            bus.broker.add_middleware(middleware)
        self._named[bus] = name
        return bus

    async def crash(self, bus: Bus) -> None:
        assert isinstance(bus, KafkaBus)
        await bus.abandon()

    async def freeze(self, bus: Bus) -> None:
        self._ways[self._named[bus]].stall()

    async def thaw(self, bus: Bus) -> None:
        self._ways[self._named[bus]].resume()

    async def publish_raw(
        self, address: str, body: bytes, *, key: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        given = [(name, value.encode()) for name, value in (headers or {}).items()]
        await self._producer.send_and_wait(address, body, key.encode() if key is not None else None, headers=given)

    async def make_anew(self, address: str) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self._open_url)
        await admin.start()
        try:
            await admin.delete_topics([address])
            while address in await admin.list_topics():
                await self.quiet()
            new = NewTopic(address, num_partitions=self.partitions, replication_factor=1)
            while (await admin.create_topics([new])).topic_errors[0][1]:
                await self.quiet()
        finally:
            await admin.close()

    async def forget(self, address: str) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self._open_url)
        await admin.start()
        try:
            whole = RecordsToDelete(before_offset=-1)
            await admin.delete_records({TopicPartition(address, index): whole for index in range(self.partitions)})
        finally:
            await admin.close()

    async def let_pass(self, delay_s: float) -> None:
        await self.clock.sleep(delay_s)

    async def quiet(self) -> None:
        await self.clock.sleep(4 * FETCH_WAIT_S)


@asynccontextmanager
async def backing_on(
    kafka: services.Running, *, freezers: int = 0, middlewares: tuple[type[BaseMiddleware], ...] = ()
) -> AsyncIterator[KafkaBacking]:
    host, _, port = kafka.url.rpartition(":")
    connect = aiokafka.client.create_conn
    ways: dict[str, Proxy] = {}

    async def create_conn(at: str, number: int, **options: Any) -> Any:
        if (proxy := ways.get(options["client_id"])) is not None:
            return await connect("127.0.0.1", proxy.port, **options)
        return await connect(at, number, **options)

    async with AsyncExitStack() as stack:
        for number in range(freezers):
            ways[f"suite-{number}"] = await stack.enter_async_context(Proxy((host, int(port))))
        aiokafka.client.create_conn = create_conn
        stack.callback(setattr, aiokafka.client, "create_conn", connect)
        producer = AIOKafkaProducer(bootstrap_servers=kafka.url, client_id="stranger")
        await producer.start()
        stack.push_async_callback(producer.stop)
        yield KafkaBacking(kafka.url, producer, ways, middlewares)


@pytest.mark.parametrize("promise", PROMISES, ids=name_of)
async def test_whole_fetches(promise: Promise, kafka: services.Running) -> None:
    async with backing_on(kafka, freezers=FREEZERS if promise in FROZEN else 0) as backing:
        await promise(backing)


@pytest.mark.parametrize("promise", THROUGH_MIDDLEWARES, ids=name_of)
async def test_through_faststream_middlewares(promise: Promise, kafka: services.Running) -> None:
    async with backing_on(kafka, middlewares=(Passing,)) as backing:
        await promise(backing)


async def test_middlewares_are_really_on_the_way(kafka: services.Running) -> None:
    class Counting(Passing):
        consumed = 0
        published = 0

    async with backing_on(kafka, middlewares=(Counting,)) as backing:
        await bus_messages.one_key_keeps_its_order(backing)
    assert (Counting.consumed, Counting.published) == (400, 400)
