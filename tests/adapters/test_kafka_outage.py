"""The Kafka bus while its broker is away: a broker of these tests' own, which is killed, stopped and started again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import anyio.to_thread
import pytest

from adapters.bus.kafka.bus import KafkaBus
from adapters.bus.kafka.limits import KafkaLimits
from adapters.clock.system import SystemClock
from contracts.errors import LeaseLost, Unavailable
from tests.conformance.bus_recorder import END, Recorder
from tests.conformance.bus_scene import Scene
from tests.conformance.test_bus_kafka import KafkaBacking, backing_on
from tests.kit import services

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

SHORT = KafkaLimits(fetch_wait_s=0.1, open_wait_s=2.0, commit_wait_s=2.0, publish_wait_s=2.0, close_wait_s=1.0)


@pytest.fixture
def own_kafka() -> Iterator[services.Running]:
    with services.own(services.start_kafka) as running:
        yield running


def bus_of(backing: KafkaBacking, scene: Scene, *recorders: Recorder, url: str) -> KafkaBus:
    bus = KafkaBus(
        url,
        clock=SystemClock(),
        limits=SHORT,
        session_timeout_s=backing.session_s,
        rebalance_timeout_s=10.0,
        revoke_wait_s=1.0,
    )
    scene.adopt(bus, *recorders)
    return bus


async def test_consuming_goes_on_by_itself_when_the_broker_is_back(own_kafka: services.Running) -> None:
    async with backing_on(own_kafka) as backing, Scene(backing) as scene:
        recorder = scene.recorder()
        bus = bus_of(backing, scene, recorder, url=own_kafka.url)
        await bus.open()
        await bus.start()
        await scene.all_held(recorder)
        await scene.publish(bus, 20)
        await scene.until(lambda: len(recorder.deliveries) == 20)
        own_kafka.server.kill()
        with pytest.raises(Unavailable):
            async with asyncio.timeout(10):
                await bus.check()
        with pytest.raises(Unavailable):
            async with asyncio.timeout(10):
                await bus.publish(scene.envelope(b"{}", headers={END: "1"}))  # it may come all the same, later
        with pytest.raises((Unavailable, LeaseLost)):
            async with asyncio.timeout(10):
                await next(iter(recorder.held.values())).commit(1)
        await anyio.to_thread.run_sync(own_kafka.server.start)
        await scene.publish(bus, 20)
        await scene.until(lambda: set(range(20, 40)) <= set(recorder.numbers), within_s=60)
        await scene.all_held(recorder, within_s=60)
        await recorder.commit_all()
        await bus.check()


async def test_who_closes_while_the_broker_is_away_is_done_in_time(own_kafka: services.Running) -> None:
    async with backing_on(own_kafka) as backing, Scene(backing) as scene:
        paused, gone = scene.recorder(), scene.recorder(group="other")
        for recorder in (paused, gone):
            bus = bus_of(backing, scene, recorder, url=own_kafka.url)
            await bus.open()
            await bus.start()
            await scene.all_held(recorder)
        first, second = scene._buses
        own_kafka.server.pause()
        try:
            async with asyncio.timeout(15):
                await first.close()
        finally:
            own_kafka.server.resume()
        own_kafka.server.kill()
        async with asyncio.timeout(15):
            await second.close()
        assert not paused.held
        assert not gone.held


async def test_who_opens_while_the_broker_is_away_is_told(own_kafka: services.Running) -> None:
    own_kafka.server.kill()
    bus = KafkaBus(own_kafka.url, clock=SystemClock(), limits=SHORT)
    with pytest.raises(Unavailable, match=own_kafka.url):
        await bus.open()
    with pytest.raises(Unavailable):
        await bus.check()
    await bus.close()
    await anyio.to_thread.run_sync(own_kafka.server.start)
    await bus.open()
    await bus.check()
    await bus.close()
