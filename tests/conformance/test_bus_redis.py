from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis

from adapters.bus.redis_stream.bus import RedisStreamBus
from adapters.bus.redis_stream.member import FetchLimits
from adapters.clock.system import SystemClock
from contracts.ports.bus import Bus
from tests.conformance.bus_suite import PROMISES, Promise, name_of
from tests.kit import services

pytestmark = pytest.mark.anyio


class Door:
    """What a bus connects through: bytes pass both ways while it is open."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 6379
        self._path = parts.path
        self._open = asyncio.Event()
        self._open.set()
        self._server: asyncio.Server | None = None
        self._passing: set[asyncio.Task[None]] = set()

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._passed, "127.0.0.1", 0)
        return f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}{self._path}"

    def shut(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self.open()
        for passing in self._passing:
            passing.cancel()
        if self._passing:
            await asyncio.wait(self._passing)

    async def _passed(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._passing.add(task)
        try:
            there = await asyncio.open_connection(self._host, self._port)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pump(reader, there[1]))
                tasks.create_task(self._pump(there[0], writer))
        except* OSError:
            pass
        except* asyncio.CancelledError:
            pass  # by `stop`
        finally:
            self._passing.discard(task)

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65_536):
                await self._open.wait()
                target.write(data)
                await target.drain()
        finally:
            target.close()


class RedisBacking:
    """Buses on one Redis, each through a door of its own."""

    partitions = 4
    extra_partitions = 1
    fetch_rows = 50
    fetch_bytes = 256 * 1024
    big_bytes = 8 * 1024 * 1024
    revoke_wait_s = 1.0
    session_s = 2.0
    patience_s = 15.0
    publish_bound = None

    def __init__(self, url: str) -> None:
        self.clock = SystemClock()
        self.url = url
        self._doors: dict[Bus, Door] = {}
        self._next: list[tuple[str, Door]] = []
        self._client: Redis = Redis.from_url(url)

    async def prepare(self, count: int) -> None:
        for _ in range(count):
            door = Door(self.url)
            self._next.append((await door.start(), door))

    def bus(self) -> RedisStreamBus:
        url, door = self._next.pop()
        bus = RedisStreamBus(
            url,
            clock=self.clock,
            limits=FetchLimits(max_rows=self.fetch_rows, max_bytes=self.fetch_bytes),
            lease_s=self.session_s,
            revoke_wait_s=self.revoke_wait_s,
        )
        self._doors[bus] = door
        return bus

    async def crash(self, bus: Bus) -> None:
        assert isinstance(bus, RedisStreamBus)
        bus.evict()

    async def freeze(self, bus: Bus) -> None:
        self._doors[bus].shut()

    async def thaw(self, bus: Bus) -> None:
        self._doors[bus].open()

    async def publish_raw(
        self, address: str, body: bytes, *, key: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        fields: dict[Any, Any] = {"data": body, **(headers or {})}
        if key is not None:
            fields["key"] = key
        await self._client.xadd(address, fields)

    async def make_anew(self, address: str) -> None:
        await self._client.delete(address, *(f"{address}:{index}" for index in range(self.partitions)))

    async def let_pass(self, delay_s: float) -> None:
        await self.clock.sleep(delay_s)

    async def quiet(self) -> None:
        await self.clock.sleep(0.1)

    async def close(self) -> None:
        for door in (*self._doors.values(), *(door for _, door in self._next)):
            await door.stop()
        await self._client.aclose()


@asynccontextmanager
async def backing_on(url: str) -> AsyncIterator[RedisBacking]:
    backing = RedisBacking(url)
    await backing.prepare(20)
    try:
        yield backing
    finally:
        await backing.close()


@pytest.mark.parametrize("promise", PROMISES, ids=name_of)
async def test_whole_fetches(promise: Promise, redis_server: services.Running) -> None:
    async with backing_on(redis_server.url) as backing:
        await promise(backing)
