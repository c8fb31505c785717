"""The Redis bus as a FastStream user meets it: middlewares around the hand-over, and the seams it stands on."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from typing import Any

import pytest
from faststream import BaseMiddleware
from faststream.redis import RedisBroker, StreamSub
from faststream.redis.parser import BinaryMessageFormatV1
from faststream.redis.prometheus import RedisPrometheusMiddleware
from faststream.redis.publisher.producer import RedisFastProducer
from faststream.redis.response import RedisPublishCommand
from faststream.redis.subscriber.config import RedisSubscriberConfig, RedisSubscriberSpecificationConfig
from faststream.redis.subscriber.specification import StreamSubscriberSpecification
from prometheus_client import CollectorRegistry
from redis.asyncio.connection import Connection, ConnectionPool, SSLConnection

from contracts.errors import Unavailable
from tests.conformance.bus_scene import Scene
from tests.conformance.test_bus_redis import RedisBacking, backing_on
from tests.kit import services
from tests.kit.waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def backing(redis_server: services.Running) -> AsyncIterator[RedisBacking]:
    async with backing_on(redis_server.url) as made:
        yield made


async def test_a_middleware_may_keep_a_message_for_itself(backing: RedisBacking) -> None:
    class Filter(BaseMiddleware):
        async def consume_scope(self, call_next: Any, msg: Any) -> Any:
            return await call_next(msg) if msg.headers.get("wanted") else None

    async with Scene(backing) as scene:
        recorder, heir = scene.recorder(), scene.recorder()
        bus = await scene.start(recorder)
        bus.broker.add_middleware(Filter)
        await bus.publish(scene.envelope(b"kept", key="k"))
        await bus.publish(scene.envelope(b"passed", key="k", headers={"wanted": "yes"}))
        await scene.until(lambda: bool(recorder.deliveries))
        await bus.close()
        other = await scene.start(heir)
        await scene.nothing_more(other, heir, keys=["k"])
        seen = [delivery.envelope.body for delivery in (*recorder.deliveries, *heir.deliveries)]
        assert seen == [b"passed", b"passed"], "what was kept came again"


async def test_a_middleware_may_change_what_is_handed_over(backing: RedisBacking) -> None:
    class Decrypt(BaseMiddleware):
        async def consume_scope(self, call_next: Any, msg: Any) -> Any:
            msg.body = msg.body[::-1]
            msg.headers["decrypted"] = "yes"
            return await call_next(msg)

    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        bus.broker.add_middleware(Decrypt)
        sent = scene.envelope(b"olleh")
        await bus.publish(sent)
        await scene.until(lambda: bool(recorder.deliveries))
        [delivery] = recorder.deliveries
        assert (delivery.envelope.body, delivery.envelope.headers) == (b"hello", {"decrypted": "yes"})
        assert delivery.envelope.id == sent.id


async def test_a_publish_middleware_may_change_what_is_published(backing: RedisBacking) -> None:
    class Stamp(BaseMiddleware):
        async def publish_scope(self, call_next: Any, cmd: Any) -> Any:
            cmd.headers["traceparent"] = "00-1"
            return await call_next(cmd)

    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        bus.broker.add_middleware(Stamp)
        sent = scene.envelope(b"{}", key="k", headers={"tenant": "blue"}, priority=3)
        await bus.publish(sent)
        await scene.until(lambda: bool(recorder.deliveries))
        seen = recorder.deliveries[0].envelope
        assert seen.headers == {"tenant": "blue", "traceparent": "00-1"}
        assert (seen.id, seen.key, seen.priority, seen.correlation_id) == (sent.id, "k", 3, sent.correlation_id)


@pytest.mark.parametrize("error", [PermissionError("bad signature"), asyncio.CancelledError()], ids=repr)
async def test_a_middleware_that_fails_holds_its_partition_until_it_does_not(
    backing: RedisBacking, error: BaseException
) -> None:
    class Unsigned(BaseMiddleware):
        seen = 0

        async def consume_scope(self, call_next: Any, msg: Any) -> Any:
            if msg.body == b"forged":
                type(self).seen += 1
                if type(self).seen < 4:
                    raise error
            return await call_next(msg)

    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        bus.broker.add_middleware(Unsigned)
        await scene.all_held(recorder)
        await bus.publish(*(scene.envelope(body, key="k") for body in (b"first", b"forged", b"last")))
        await until(lambda: Unsigned.seen > 0)
        with pytest.raises(Unavailable, match=r"bad signature|was cancelled"):
            await bus.check()
        await scene.until(lambda: len(recorder.deliveries) == 3)
        assert [delivery.envelope.body for delivery in recorder.deliveries] == [b"first", b"forged", b"last"]
        assert [delivery.deliveries for delivery in recorder.deliveries] == [1, 4, 1]
        await bus.check()


@pytest.mark.parametrize("what", ["pause", "stop_intake", "close"])
async def test_what_is_on_its_way_through_a_middleware_is_not_handed_over_any_more(
    backing: RedisBacking, what: str
) -> None:
    inside, go_on = asyncio.Event(), asyncio.Event()

    class Slow(BaseMiddleware):
        async def consume_scope(self, call_next: Any, msg: Any) -> Any:
            inside.set()
            await go_on.wait()
            return await call_next(msg)

    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        bus.broker.add_middleware(Slow)
        await scene.all_held(recorder)
        await scene.publish(bus, 1, keys=["k"])
        await inside.wait()
        if what == "pause":
            recorder.pause("test")
        elif what == "stop_intake":
            await bus.stop_intake()
        else:
            await bus.close()
        go_on.set()
        await backing.quiet()
        assert not recorder.deliveries
        if what == "pause":
            recorder.resume("test")
        else:
            await bus.close()
            recorder = scene.recorder()
            await scene.start(recorder)
        await scene.until(lambda: bool(recorder.deliveries))
        if what != "close":
            assert recorder.deliveries[0].deliveries == 1, "nobody saw it the first time"


async def test_faststreams_own_metrics_can_be_used(backing: RedisBacking) -> None:
    registry = CollectorRegistry()
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        bus.broker.add_middleware(RedisPrometheusMiddleware(registry=registry, app_name="test"))
        await scene.publish(bus, 3)
        await scene.until(lambda: len(recorder.deliveries) == 3)
        labels = {"app_name": "test", "broker": "redis", "handler": scene.address}
        assert registry.get_sample_value("faststream_received_messages_total", labels) == 3


async def test_native_subscribers_stand_beside_routes(backing: RedisBacking) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = scene.unopened(recorder)
        handled: asyncio.Queue[bytes] = asyncio.Queue()

        async def handle(body: bytes) -> None:
            await handled.put(body)

        bus.broker.subscriber(stream=StreamSub(f"{scene.address}.native", last_id="0"))(handle)
        await bus.open()
        await bus.start()
        await bus.broker.publish(b"one", stream=f"{scene.address}.native")
        await bus.broker.publish(b'{"number": 1}', stream=scene.address)
        await scene.until(lambda: len(recorder.deliveries) == 1)
        assert recorder.deliveries[0].envelope.body == b'{"number": 1}'
        async with asyncio.timeout(10):
            assert await handled.get() == b"one"


# --- seams --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seam", "parameters"),
    [
        (RedisBroker.__init__, {"url"}),
        (RedisSubscriberConfig.__init__, {"stream_sub", "no_reply", "_outer_config", "_ack_policy"}),
        (RedisSubscriberSpecificationConfig.__init__, {"title_", "description_", "include_in_schema"}),
        (StreamSubscriberSpecification.__init__, {"_outer_config", "specification_config", "calls", "stream_sub"}),
        (RedisPublishCommand.__init__, {"message", "_publish_type", "correlation_id", "stream", "headers"}),
        (RedisFastProducer.publish, {"cmd"}),
        (BinaryMessageFormatV1.parse, {"data"}),
        (Connection.send_packed_command, {"command", "check_health"}),
        (Connection.read_response, {"disable_decoding"}),
        (Connection.can_read, set()),
        (Connection.disconnect, {"nowait"}),
        (Connection._close, set()),
        (SSLConnection._connection_arguments, set()),
    ],
)
def test_a_seam_has_its_shape(seam: Any, parameters: set[str]) -> None:
    assert parameters <= set(inspect.signature(seam).parameters)


def test_a_pool_says_how_it_would_connect() -> None:
    pool = ConnectionPool.from_url("rediss://u:p@example.org:1/2?ssl_ca_certs=x")
    assert pool.connection_class is SSLConnection
    assert pool.connection_kwargs["host"] == "example.org"
    assert pool.connection_kwargs["ssl_ca_certs"] == "x"
