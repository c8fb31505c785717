from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from redis.asyncio import Redis

from adapters.cache.redis.cache import RedisCache
from adapters.cache.redis.missed import Missed
from adapters.clock.system import SystemClock
from adapters.log.structured import make_log
from adapters.metrics.memory import MemoryMetrics
from contracts.errors import Faults, Unavailable
from contracts.metrics import CACHE_FALL_THROUGHS, CACHE_HIT_RATE
from tests.conformance.cache_suite import exercise_cache
from tests.kit import services
from tests.kit.certificates import Authority
from tests.kit.proxied import proxied
from tests.kit.redis_users import redis_user
from tests.kit.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

CLOCK = SystemClock()


class Opened:
    """A cache of one test, with what it logged and counted."""

    def __init__(self, url: str, **more: Any) -> None:
        self.lines = io.StringIO()
        self.metrics = MemoryMetrics()
        log = make_log(clock=CLOCK, format="json", level="info", stream=self.lines)
        # A busy machine is no outage, so where none is tried there is time.
        given = {"prefix": "kit:", "timeout_s": 60.0, **more}
        self.cache = RedisCache(url, clock=CLOCK, log=log, metrics=self.metrics, **given)

    @property
    def falls(self) -> float:
        return self.metrics.value(CACHE_FALL_THROUGHS) or 0


@asynccontextmanager
async def opened(url: str, **more: Any) -> AsyncIterator[Opened]:
    made = Opened(url, **more)
    await made.cache.open()
    try:
        yield made
    finally:
        await made.cache.flush()
        await made.cache.close()
        await made.cache.close()


async def test_redis_cache(redis_server: services.Running) -> None:
    async with opened(redis_server.url) as own, Redis.from_url(redis_server.url) as redis:
        await redis.set("other:k", b"a stranger's")
        await redis.set("ki", b"a stranger's")
        await exercise_cache(own.cache, CLOCK.sleep)
        assert await redis.keys("kit:*") == [], "no claim is left behind"
        assert await redis.delete("other:k", "ki") == 2, "what others have is left alone"
        assert own.falls == 0
        assert own.lines.getvalue() == ""


async def test_redis_cache_by_tls_and_as_a_user_with_few_rights(redis_server: services.Running, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    rules = ("~few:*", "+get", "+mget", "+set", "+del", "+unlink", "+exists", "+scan", "+eval", "+evalsha", "+ping")
    async with (
        redis_user(redis_server, *rules, "+script|load", "+select") as url,
        proxied(url, tls=authority.server) as proxy,
    ):
        trusting = f"{proxy.url}?{urlencode({'ssl_ca_certs': authority.ca_file})}"
        async with opened(trusting, prefix="few:") as own:
            await exercise_cache(own.cache, CLOCK.sleep)
            assert own.falls == 0
            assert own.cache.address == f"rediss://127.0.0.1:{proxy.port}/0"
        async with opened(proxy.url, prefix="few:") as distrustful:
            with pytest.raises(Unavailable, match="certificate verify failed"):
                await distrustful.cache.check()
        refused = Opened(trusting, prefix="elsewhere:")
        with pytest.raises(Unavailable, match="see CACHE_REDIS_URL, and the user's rights") as caught:
            await refused.cache.open()
        assert url.rpartition("@")[0].rpartition(":")[2] not in str(caught.value)
        await refused.cache.close()


async def test_two_processes_load_once(redis_server: services.Running) -> None:
    begun, go = asyncio.Event(), asyncio.Event()
    loads = 0

    async def load() -> bytes:
        nonlocal loads
        loads += 1
        begun.set()
        await go.wait()
        return b"loaded"

    async with opened(redis_server.url) as one, opened(redis_server.url) as other:
        # The other one comes while the first loads, or just when it has kept what it loaded.
        for number, wait_s in enumerate((0.05, 0, 0, 0), start=1):
            begun.clear()
            go.clear()
            async with asyncio.TaskGroup() as tasks:
                first = tasks.create_task(one.cache.get_or_load(f"k{number}", load, ttl_s=60))
                await begun.wait()
                second = tasks.create_task(other.cache.get_or_load(f"k{number}", load, ttl_s=60))
                await CLOCK.sleep(wait_s)
                go.set()
            assert (await first, await second, loads) == (b"loaded", b"loaded", number)

        begun.clear()
        go.clear()
        async with asyncio.TaskGroup() as tasks:
            stale = tasks.create_task(one.cache.get_or_load("d", load, ttl_s=60))
            await begun.wait()
            await other.cache.delete("d")
            go.set()
        assert await stale == b"loaded"
        assert await other.cache.get("d") is None, "it was read before the change"


async def test_while_redis_is_down_work_goes_on_without_it(redis_server: services.Running) -> None:
    async with proxied(redis_server) as proxy, opened(proxy.url, timeout_s=1.0) as own:
        cache = own.cache
        await cache.set_many({"a": b"1", "b": b"1", "c:1": b"1", "d": b"1"})
        proxy.stall()
        assert await asyncio.gather(*(cache.get("a") for _ in range(50))) == [None] * 50
        connections = proxy.accepted
        assert await cache.get_many(["a", "b"]) == {}
        await cache.set("a", b"2")
        assert not await cache.delete("b")
        assert await cache.flush("c:") == 0
        assert not await cache.exists("d")
        assert await cache.get_or_load("e", _loaded) == b"loaded"
        assert proxy.accepted == connections, "it is not asked"
        assert own.falls >= 50
        assert own.metrics.value(CACHE_HIT_RATE) == 0
        with pytest.raises(Unavailable, match="work goes on without it"):
            await cache.check()
        proxy.resume()
        await until(lambda: "answers again" in own.lines.getvalue())
        found = await cache.get_many(["a", "b", "c:1", "d", "e"])
        assert found == {"d": b"1"}, "what was changed meanwhile is not served from before"
        await cache.check()
        lines = own.lines.getvalue().splitlines()
        assert len(lines) == 2, "an outage is told once, and its end"
        assert "no answer within 1 s" in lines[0]


async def test_a_redis_that_is_not_there_yet(redis_server: services.Running) -> None:
    async with proxied(redis_server) as proxy:
        await proxy.refuse()
        async with opened(proxy.url, timeout_s=1.0) as own:
            assert await own.cache.get_or_load("k", _loaded) == b"loaded"
            await own.cache.set("k", b"v")
            await proxy.accept()
            await until(lambda: "answers again" in own.lines.getvalue())
            await own.cache.set("k", b"v")
            assert await own.cache.get("k") == b"v"


async def test_a_redis_that_dies_and_comes_back() -> None:
    with services.own(services.start_redis) as redis:
        async with opened(redis.url) as own:
            await own.cache.set("k", b"v")
            redis.server.kill()
            assert await own.cache.get("k") is None
            redis.server.start()
            await until(lambda: "answers again" in own.lines.getvalue())
            await own.cache.set("k", b"w")
            assert await own.cache.get("k") == b"w"


async def test_a_full_redis_is_not_down() -> None:
    with services.own(services.start_redis) as redis:
        async with opened(redis.url) as own, Redis.from_url(redis.url) as admin:
            await own.cache.set("k", b"old")
            await admin.config_set("maxmemory", 1)
            await own.cache.set_many({"k": b"new", "l": b"new"})
            assert await own.cache.get_or_load("m", _loaded, ttl_s=5) == b"loaded"
            assert await own.cache.get_many(["k", "l", "m"]) == {}, "an old value does not outlive what did not fit"
            assert own.falls == 2, "what was set, and the claim of what was loaded"
            await own.cache.check()
            assert own.lines.getvalue() == ""
            await admin.config_set("maxmemory", 0)


async def test_a_url_that_is_none() -> None:
    with pytest.raises(Faults, match="use redis://") as caught:
        Opened("redis://:hunter2@host:6379/0?socket_timeout=soon")
    assert "hunter2" not in str(caught.value)


def test_what_is_too_much_to_remember_is_everything() -> None:
    missed = Missed(most=3)
    missed.add(["a", "b", "a"], prefix="p:")
    assert missed.take() == (["a", "b"], ["p:"])
    assert not missed
    missed.add(["a", "b", "c", "d"])
    assert missed.take() == ([], [""])


async def _loaded() -> bytes:
    return b"loaded"
