"""The proxy of the test kit, in front of the real services."""

from __future__ import annotations

import asyncio
import gc
import socket
import time
from collections.abc import AsyncIterator

import anyio
import asyncpg
import pytest
import redis.asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer  # type: ignore[import-untyped]
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.kit import services
from tests.kit.proxied import proxied
from tests.kit.proxy import CHUNK_BYTES, CHUNKS, Proxy
from tests.kit.topics import fresh_topic
from tests.kit.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.integration, pytest.mark.timeout(60)]


def client_of(url: str) -> Redis:
    """It tells of every error at once."""
    return redis.asyncio.Redis.from_url(url, retry=Retry(NoBackoff(), 0))


@pytest.fixture
async def direct(redis_server: services.Running) -> AsyncIterator[Redis]:
    async with client_of(redis_server.url) as client:
        await client.delete("kit")
        yield client


async def test_bytes_pass_unchanged(redis_server: services.Running, direct: Redis) -> None:
    large = bytes(range(256)) * 8192  # 2 MiB: many chunks
    async with proxied(redis_server) as proxy, client_of(proxy.url) as client:
        await client.set("kit", large)
        assert await client.get("kit") == large
        assert (proxy.connections, proxy.accepted, proxy.waiting_bytes) == (1, 1, 0)
    assert await direct.get("kit") == large


async def test_a_cut_resets_and_the_next_connection_works(redis_server: services.Running) -> None:
    async with proxied(redis_server) as proxy, client_of(proxy.url) as client:
        blocked = asyncio.gather(client.blpop(["kit-nothing"], timeout=0), return_exceptions=True)
        await until(lambda: proxy.connections == 1)
        proxy.cut()
        (error,) = await blocked
        assert isinstance(error, RedisConnectionError)
        assert await client.ping()
        assert proxy.accepted == 2


async def test_what_is_stalled_arrives_when_it_is_resumed(redis_server: services.Running, direct: Redis) -> None:
    async with proxied(redis_server) as proxy, client_of(proxy.url) as client, anyio.create_task_group() as tasks:
        await client.ping()
        proxy.stall()
        done = asyncio.Event()

        async def write() -> None:
            await client.set("kit", "late")
            done.set()

        tasks.start_soon(write)
        await until(lambda: proxy.waiting_bytes > 0)
        assert await direct.get("kit") is None
        assert not done.is_set()
        proxy.resume()
        await done.wait()
        assert await direct.get("kit") == b"late"


async def test_an_answer_can_be_lost_whose_request_was_done(redis_server: services.Running, direct: Redis) -> None:
    """The case that makes clients repeat what was done already."""
    async with proxied(redis_server) as proxy, client_of(proxy.url) as client:
        await client.ping()
        proxy.stall("answers")
        asking = asyncio.gather(client.incr("kit"), return_exceptions=True)
        await until(lambda: proxy.waiting_bytes > 0)
        proxy.cut()
        assert isinstance((await asking)[0], RedisConnectionError)
        assert await direct.get("kit") == b"1"


async def test_who_is_refused_can_come_back(redis_server: services.Running) -> None:
    async with proxied(redis_server) as proxy, client_of(proxy.url) as client, client_of(proxy.url) as late:
        await client.ping()
        await proxy.refuse()
        with pytest.raises(RedisConnectionError):
            await late.ping()
        assert await client.ping(), "connections that are there stay"
        await proxy.accept()
        assert await late.ping()


@pytest.mark.parametrize("turns", range(6))
async def test_who_comes_as_it_ends_is_left_open_by_nobody(redis_server: services.Running, turns: int) -> None:
    async with proxied(redis_server) as proxy:
        client = socket.create_connection(("127.0.0.1", proxy.port))
        for _ in range(turns):  # of the loop: accepted, being made a transport, handed over
            await asyncio.sleep(0)  # noqa: TID251 - as above
    with client:
        client.settimeout(10.0)
        with pytest.raises(ConnectionResetError):
            await asyncio.to_thread(client.recv, 1)
    gc.collect()  # whatever was left open is told here


async def test_a_throttled_connection_is_slow(redis_server: services.Running, direct: Redis) -> None:
    await direct.set("kit", b"x" * 20_000)
    async with proxied(redis_server) as proxy, client_of(proxy.url) as client:
        await client.ping()
        proxy.throttle(100_000)
        began = time.perf_counter()
        await client.get("kit")
        assert time.perf_counter() - began >= 0.18
        proxy.throttle(None)
        assert await client.get("kit") == b"x" * 20_000


async def test_a_delayed_connection_has_both_ways_delayed(redis_server: services.Running) -> None:
    async with proxied(redis_server) as proxy, client_of(proxy.url) as client:
        await client.ping()
        proxy.delay(0.1)
        began = time.perf_counter()
        await client.ping()
        assert time.perf_counter() - began >= 0.2


async def test_what_it_holds_is_bounded(redis_server: services.Running) -> None:
    async with proxied(redis_server) as proxy:
        proxy.stall()
        _, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"PING\r\n" * 10_000_000)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await writer.drain()
        assert 0 < proxy.waiting_bytes <= (CHUNKS + 1) * CHUNK_BYTES
        proxy.cut()
        with pytest.raises(ConnectionError):
            await writer.drain()
        writer.close()
        await until(lambda: proxy.waiting_bytes == 0)


async def test_a_client_learns_of_the_death_of_its_server() -> None:
    with services.own(services.start_redis) as own:
        async with proxied(own) as proxy, client_of(proxy.url) as client:
            await client.ping()
            own.server.kill()
            for _ in ("the connection that it had", "a new one"):
                with pytest.raises(RedisConnectionError):
                    await client.ping()
            own.server.start()
            assert await client.ping()


async def test_a_database_behind_a_proxy_is_slow_or_gone(database_url: str) -> None:
    async with proxied(database_url) as proxy:
        connection = await asyncpg.connect(proxy.url)
        assert await connection.fetchval("select 1") == 1
        proxy.delay(0.1)
        began = time.perf_counter()
        await connection.fetchval("select 1")
        assert time.perf_counter() - began >= 0.2
        proxy.delay(0)
        proxy.cut()
        with pytest.raises((OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError)):
            await connection.fetchval("select 1")
        await connection.close()


async def test_kafka_is_reached_through_the_proxy_alone(kafka: services.Running) -> None:
    async with (
        fresh_topic(kafka) as topic,
        proxied(kafka) as proxy,
        AIOKafkaProducer(bootstrap_servers=proxy.url) as producer,
        AIOKafkaConsumer(topic, bootstrap_servers=proxy.url, auto_offset_reset="earliest") as consumer,
    ):
        await producer.send_and_wait(topic, b"1")
        assert (await consumer.getone()).value == b"1"
        before = proxy.accepted
        proxy.cut()
        await producer.send_and_wait(topic, b"2")
        assert (await consumer.getone()).value == b"2"
        assert proxy.accepted > before
        await nothing_passes_while_stalled(proxy, producer, topic)
        assert (await consumer.getone()).value == b"3"


async def nothing_passes_while_stalled(proxy: Proxy, producer: AIOKafkaProducer, topic: str) -> None:
    proxy.stall("requests")
    sending = await producer.send(topic, b"3")
    await until(lambda: proxy.waiting_bytes > 0)
    assert not sending.done()
    proxy.resume()
    await sending
