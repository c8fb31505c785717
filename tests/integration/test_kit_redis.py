"""Redis as later tests need it: with TLS, with users, persistent, killed and paused."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError

from tests.kit import services
from tests.kit.certificates import Authority
from tests.kit.proxied import proxied
from tests.kit.redis_users import redis_user

pytestmark = [pytest.mark.anyio, pytest.mark.integration, pytest.mark.timeout(60)]

# Each of these has a server of its own, since it is ended.


@pytest.fixture
def own_redis() -> Iterator[services.Running]:
    with services.own(services.start_redis) as running:
        yield running


@pytest.fixture
def persistent_redis() -> Iterator[services.Running]:
    with services.own(lambda: services.start_redis(persistent=True)) as running:
        yield running


def client_of(url: str, *, retries: int = 0, **more: Any) -> Redis:
    return Redis.from_url(url, retry=Retry(NoBackoff(), retries), **more)


async def test_tls_is_spoken_with_those_who_trust_the_authority(redis_server: services.Running, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with proxied(redis_server, tls=authority.server) as proxy:
        assert proxy.url.startswith("rediss://")
        async with client_of(proxy.url, ssl_ca_certs=str(authority.ca_file)) as client:
            large = b"secret" * 200_000
            await client.set("kit", large)
            assert await client.getdel("kit") == large
        async with client_of(proxy.url) as stranger:
            with pytest.raises(RedisConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
                await stranger.ping()


async def test_a_user_may_do_what_its_rules_say(redis_server: services.Running) -> None:
    async with redis_user(redis_server, "~kit-orders", "+xadd", "+xlen") as url, client_of(url) as client:
        await client.xadd("kit-orders", {"a": "1"})
        with pytest.raises(NoPermissionError):
            await client.xadd("kit-others", {"a": "1"})
        with pytest.raises(NoPermissionError):
            await client.delete("kit-orders")
    async with client_of(redis_server.url) as admin:
        assert await admin.delete("kit-orders") == 1
    async with client_of(url) as gone:
        with pytest.raises(RedisConnectionError, match="invalid username-password"):
            await gone.ping()


async def test_a_killed_redis_has_lost_its_data(own_redis: services.Running) -> None:
    async with client_of(own_redis.url) as client:
        await client.set("kit", "1")
        own_redis.server.kill()
        with pytest.raises(RedisConnectionError):
            await client.get("kit")
        own_redis.server.start()
        assert await client.get("kit") is None


async def test_a_persistent_one_has_not(persistent_redis: services.Running) -> None:
    async with client_of(persistent_redis.url, retries=1) as client:
        await client.set("kit", "1")
        persistent_redis.server.kill()
        persistent_redis.server.start()
        assert await client.get("kit") == b"1"
        persistent_redis.server.restart()
        assert await client.get("kit") == b"1"


async def test_a_paused_one_answers_once_it_is_resumed(own_redis: services.Running) -> None:
    async with client_of(own_redis.url) as client:
        await client.ping()
        own_redis.server.pause()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.ping()
        own_redis.server.resume()
        assert await client.ping()
