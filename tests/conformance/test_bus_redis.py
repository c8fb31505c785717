from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from faststream import BaseMiddleware
from redis.asyncio import Redis

from adapters.bus.redis_stream.bus import RedisStreamBus
from adapters.bus.redis_stream.member import FetchLimits
from adapters.clock.system import SystemClock
from contracts.ports.bus import Bus
from tests.conformance import bus_flow, bus_messages
from tests.conformance.bus_suite import PROMISES, Promise, name_of
from tests.kit import services
from tests.kit.proxied import proxied
from tests.kit.proxy import Proxy

pytestmark = pytest.mark.anyio

MEMBERS = 24
"""More than a promise makes."""

MESSAGE_BY_MESSAGE = [each for each in PROMISES if each.__module__ in (bus_flow.__name__, bus_messages.__name__)]


class Passing(BaseMiddleware):
    """Sees every message, changes none."""

    async def consume_scope(self, call_next: Any, msg: Any) -> Any:
        return await call_next(msg)

    async def publish_scope(self, call_next: Any, cmd: Any) -> Any:
        return await call_next(cmd)


class RedisBacking:
    """Buses on one Redis, each through a proxy of its own."""

    partitions = 4
    extra_partitions = 1
    fetch_rows = 50
    fetch_bytes = 256 * 1024
    big_bytes = 8 * 1024 * 1024
    revoke_wait_s = 1.0
    session_s = 2.0
    patience_s = 15.0
    publish_bound = None
    tells_what_was_deleted = True

    def __init__(self, url: str, middlewares: tuple[type[BaseMiddleware], ...] = (), *, own: str = "") -> None:
        self.clock = SystemClock()
        self.client: Redis = Redis.from_url(own or url)
        """The stranger's, and the administrator's."""
        self._url = url
        self._middlewares = middlewares
        self._free: list[Proxy] = []
        self._proxies: dict[Bus, Proxy] = {}

    async def open(self, stack: AsyncExitStack) -> None:
        await stack.enter_async_context(self.client)
        version = (await self.client.info("server"))["redis_version"]
        self.tells_what_was_deleted = int(version.split(".")[0]) >= 7
        self._free = [await stack.enter_async_context(proxied(self._url)) for _ in range(MEMBERS)]

    def bus(self, **options: Any) -> RedisStreamBus:
        proxy = self._free.pop()
        given: dict[str, Any] = {
            "clock": self.clock,
            "limits": FetchLimits(max_rows=self.fetch_rows, max_bytes=self.fetch_bytes),
            "lease_s": self.session_s,
            "revoke_wait_s": self.revoke_wait_s,
        }
        bus = RedisStreamBus(proxy.url, **{**given, **options})
        for middleware in self._middlewares:
            bus.broker.add_middleware(middleware)
        self._proxies[bus] = proxy
        return bus

    def proxy(self, bus: Bus) -> Proxy:
        return self._proxies[bus]

    async def crash(self, bus: Bus) -> None:
        assert isinstance(bus, RedisStreamBus)
        bus.evict()

    async def freeze(self, bus: Bus) -> None:
        self._proxies[bus].stall()

    async def thaw(self, bus: Bus) -> None:
        self._proxies[bus].resume()

    async def publish_raw(
        self, address: str, body: bytes, *, key: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        fields: dict[Any, Any] = {"data": body, **(headers or {})}
        if key is not None:
            fields["key"] = key
        await self.client.xadd(address, fields)

    async def make_anew(self, address: str) -> None:
        await self.client.delete(address, *(f"{address}:{index}" for index in range(self.partitions)))

    async def forget(self, address: str) -> None:
        for stream in (address, *(f"{address}:{index}" for index in range(self.partitions))):
            await self.client.xtrim(stream, maxlen=0, approximate=False)

    async def let_pass(self, delay_s: float) -> None:
        await self.clock.sleep(delay_s)

    async def quiet(self) -> None:
        await self.clock.sleep(0.1)


@asynccontextmanager
async def backing_on(url: str, *middlewares: type[BaseMiddleware], own: str = "") -> AsyncIterator[RedisBacking]:
    async with AsyncExitStack() as stack:
        backing = RedisBacking(url, middlewares, own=own)
        await backing.open(stack)
        yield backing


@pytest.mark.parametrize("promise", PROMISES, ids=name_of)
async def test_whole_fetches(promise: Promise, redis_server: services.Running) -> None:
    async with backing_on(redis_server.url) as backing:
        await promise(backing)


@pytest.mark.parametrize("promise", MESSAGE_BY_MESSAGE, ids=name_of)
async def test_through_faststream_middlewares(promise: Promise, redis_server: services.Running) -> None:
    async with backing_on(redis_server.url, Passing) as backing:
        await promise(backing)
