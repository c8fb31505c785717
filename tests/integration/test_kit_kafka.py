"""Kafka is killed and comes back with its data, at the same address."""

from __future__ import annotations

from collections.abc import Iterator

import anyio.to_thread
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer  # type: ignore[import-untyped]

from tests.kit import services
from tests.kit.topics import fresh_topic

pytestmark = [pytest.mark.anyio, pytest.mark.integration, pytest.mark.timeout(120)]


@pytest.fixture
def own_kafka() -> Iterator[services.Running]:
    with services.own(services.start_kafka) as running:
        yield running


async def test_a_killed_kafka_comes_back_with_its_messages(own_kafka: services.Running) -> None:
    async with fresh_topic(own_kafka) as topic, AIOKafkaProducer(bootstrap_servers=own_kafka.url) as producer:
        await producer.send_and_wait(topic, b"before")
        killed = own_kafka.server.pid
        own_kafka.server.kill()
        sending = await producer.send(topic, b"meanwhile")
        await anyio.to_thread.run_sync(own_kafka.server.start)
        assert own_kafka.server.pid != killed
        await sending
        async with AIOKafkaConsumer(topic, bootstrap_servers=own_kafka.url, auto_offset_reset="earliest") as consumer:
            assert [(await consumer.getone()).value for _ in range(2)] == [b"before", b"meanwhile"]
        own_kafka.server.pause()
        held = await producer.send(topic, b"held")
        assert not held.done()
        own_kafka.server.resume()
        await held
