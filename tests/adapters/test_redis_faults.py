"""The Redis bus and a server that dies, forgets, or is full. Each test has a server of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio.to_thread
import pytest
from redis.asyncio import Redis

from adapters.bus.redis_stream import keys
from contracts.errors import Transient, Unavailable
from contracts.ports.bus import Bus
from tests.conformance.bus_scene import Scene
from tests.conformance.test_bus_redis import RedisBacking, backing_on
from tests.kit import services
from tests.kit.services import NativeServer
from tests.kit.services.service import CannotStart
from tests.kit.waiting import until

pytestmark = pytest.mark.anyio

OwnServer = Callable[..., AbstractAsyncContextManager[tuple[RedisBacking, NativeServer]]]


@pytest.fixture
def own_server() -> OwnServer:
    @asynccontextmanager
    async def make(*, persistent: bool = False) -> AsyncIterator[tuple[RedisBacking, NativeServer]]:
        try:
            running = services.start_redis(persistent=persistent)
        except CannotStart as error:
            services.missing("Redis", reason=str(error), remedy="Install redis-server.")
        try:
            async with backing_on(running.url) as backing:
                yield backing, running.server
        finally:
            running.end()

    return make


async def well(bus: Bus) -> bool:
    try:
        await bus.check()
    except Unavailable:
        return False
    return True


async def ill(bus: Bus) -> bool:
    return not await well(bus)


async def test_a_server_that_lost_everything_is_worked_with_again(own_server: OwnServer) -> None:
    async with own_server() as (backing, server), Scene(backing) as scene:
        recorder = scene.recorder()
        bus, publisher = await scene.start(recorder), await scene.opened()
        await scene.all_held(recorder)
        before = {assignment.incarnation for assignment in recorder.held.values()}
        epochs = {partition: assignment.epoch for partition, assignment in recorder.held.items()}
        await scene.publish(publisher, 20)
        await scene.until(lambda: len(recorder.deliveries) == 20)
        await anyio.to_thread.run_sync(server.kill)
        await until(lambda: ill(bus), what="a bus that says so")
        with pytest.raises(Unavailable):
            await scene.publish(publisher, 1)
        await anyio.to_thread.run_sync(server.start)
        await until(lambda: well(bus), what="a bus that is well again")
        await until(lambda: well(publisher), what="a publisher that is well again")
        await scene.until(lambda: len(recorder.revocations) >= scene.all_partitions)
        await scene.all_held(recorder)
        assert not {assignment.incarnation for assignment in recorder.held.values()} & before
        assert all(recorder.held[partition].epoch > epoch for partition, epoch in epochs.items())
        await scene.publish(publisher, 20)
        await scene.until(lambda: len(recorder.deliveries) == 40)
        await backing.client.connection_pool.disconnect()  # what it has was made with the server that died
        assert await backing.client.hget(keys.about(scene.address), "partitions") == b"4"


async def test_a_server_that_comes_back_with_its_data_is_gone_on_with(own_server: OwnServer) -> None:
    async with own_server(persistent=True) as (backing, server), Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        await scene.all_held(recorder)
        await scene.publish(bus, 20)
        await scene.until(lambda: len(recorder.deliveries) == 20)
        await anyio.to_thread.run_sync(server.kill)
        await until(lambda: ill(bus), what="a bus that says so")
        await backing.let_pass(1.5 * backing.session_s)
        await anyio.to_thread.run_sync(server.start)
        await until(lambda: well(bus), what="a bus that is well again")
        await scene.publish(bus, 20)
        await scene.until(lambda: len(recorder.deliveries) == 40)
        assert not recorder.revocations, "nobody else was there to take anything"
        await recorder.commit_all()
        await bus.close()
        heir = scene.recorder()
        other = await scene.start(heir)
        await scene.publish(other, 1)
        await scene.until(lambda: bool(heir.deliveries))
        assert heir.numbers == [40]


async def test_a_server_that_is_flushed_is_worked_with_again(own_server: OwnServer) -> None:
    async with own_server() as (backing, _), Scene(backing) as scene:
        recorder, heir = scene.recorder(), scene.recorder()
        bus, other = await scene.start(recorder), await scene.start(heir)
        await scene.shared(recorder, heir)
        await backing.client.flushall()
        await scene.until(lambda: len(recorder.revocations) + len(heir.revocations) >= scene.all_partitions)
        await scene.shared(recorder, heir)
        await scene.publish(bus, 40)
        await scene.until(lambda: set(recorder.numbers) | set(heir.numbers) == set(range(40)))
        await other.check()


async def test_a_server_that_is_full_says_so(own_server: OwnServer) -> None:
    async with own_server() as (backing, _), Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        await scene.publish(bus, 5, keys=["k"])
        await scene.until(lambda: len(recorder.deliveries) == 5)
        client: Any = backing.client
        await client.config_set("maxmemory", 1_000_000)
        with pytest.raises(Transient, match="maxmemory") as caught:
            await bus.publish(*(scene.envelope(b"x" * 100_000) for _ in range(20)))
        assert not isinstance(caught.value, Unavailable)
        await recorder.commit_all()  # what frees memory goes on
        if (await client.info("server"))["redis_version"].startswith("6."):
            pytest.skip("Redis 6 runs no script that writes while it is full: leases run out, and are taken after that")
        await backing.let_pass(1.5 * backing.session_s)
        await bus.check()
        assert not recorder.revocations
        await scene.crash(bus)
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        await scene.all_held(recorder)
        await client.config_set("maxmemory", 0)
        await scene.publish(bus, 5, keys=["k"])
        await scene.until(lambda: len(recorder.deliveries) >= 5)
        assert recorder.numbers[-5:] == [5, 6, 7, 8, 9]


async def test_scripts_that_the_server_forgot_are_sent_again(own_server: OwnServer) -> None:
    async with own_server() as (backing, _), Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        await scene.publish(bus, 5, keys=["k"])
        await scene.until(lambda: len(recorder.deliveries) == 5)
        client: Redis = backing.client
        await client.script_flush()
        await recorder.commit_all()
        await backing.let_pass(backing.session_s)
        assert not recorder.revocations
        await bus.check()


async def test_a_server_that_stands_still_costs_no_message(own_server: OwnServer) -> None:
    async with own_server() as (backing, server), Scene(backing) as scene:
        recorder = scene.recorder(commits=True)
        bus = await scene.start(recorder)
        await scene.all_held(recorder)
        server.pause()
        try:
            await backing.let_pass(backing.session_s)
        finally:
            server.resume()
        await until(lambda: well(bus), what="a bus that is well again")
        await scene.publish(bus, 40)
        await scene.until(lambda: set(recorder.numbers) == set(range(40)))
