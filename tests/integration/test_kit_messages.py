"""The test kit's brokers take a message and give it back."""

from __future__ import annotations

import pytest
import redis.asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer  # type: ignore[import-untyped]
from aiokafka.errors import UnknownTopicOrPartitionError  # type: ignore[import-untyped]

from tests.kit import services
from tests.kit.topics import fresh_topic

pytestmark = [pytest.mark.anyio, pytest.mark.integration, pytest.mark.timeout(60)]


async def test_kafka_gives_back_what_it_was_given(kafka: services.Running) -> None:
    async with fresh_topic(kafka, partitions=8) as topic:
        async with AIOKafkaProducer(bootstrap_servers=kafka.url) as producer:
            sent = await producer.send_and_wait(topic, b"hello", key=b"k")
        async with AIOKafkaConsumer(
            topic, bootstrap_servers=kafka.url, group_id=topic, auto_offset_reset="earliest"
        ) as consumer:
            received = await consumer.getone()
            assert len(consumer.assignment()) == 8
        assert (received.value, received.key, received.partition) == (b"hello", b"k", sent.partition)


async def test_kafka_makes_no_topic_that_nobody_made(kafka: services.Running) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka.url, request_timeout_ms=200) as producer:
        with pytest.raises(UnknownTopicOrPartitionError):
            await producer.send_and_wait("nobody-made-this", b"hello")


async def test_redis_gives_back_what_it_was_given(redis_server: services.Running) -> None:
    async with redis.asyncio.Redis.from_url(redis_server.url) as client:
        await client.set("kit", b"hello")
        assert await client.getdel("kit") == b"hello"
