from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from faststream import BaseMiddleware

from adapters.bus.memory.broker import MemoryBroker
from adapters.bus.memory.bus import MemoryBus
from adapters.bus.memory.log import MemoryLog
from adapters.bus.memory.mounted import FetchLimits
from adapters.bus.memory.topic import Bounds
from adapters.bus.turn import next_turn
from adapters.clock.manual import ManualClock
from contracts.ports.bus import Bus
from tests.conformance.bus_suite import PROMISES, Promise, bus_messages, name_of

pytestmark = pytest.mark.anyio


class Passing(BaseMiddleware):
    """Sees every message, changes none."""

    consumed = 0
    published = 0

    async def consume_scope(self, call_next: Any, msg: Any) -> Any:
        type(self).consumed += 1
        return await call_next(msg)

    async def publish_scope(self, call_next: Any, cmd: Any) -> Any:
        type(self).published += 1
        return await call_next(cmd)


class MemoryBacking:
    """Buses on one `MemoryLog`, in time that moves by hand."""

    partitions = 4
    extra_partitions = 0
    fetch_rows = 50
    fetch_bytes = 256 * 1024
    big_bytes = 8 * 1024 * 1024
    revoke_wait_s = 10.0
    session_s = 10.0
    patience_s = 15.0
    publish_bound = 600
    tells_what_was_deleted = True

    def __init__(self, middlewares: tuple[type[BaseMiddleware], ...] = ()) -> None:
        self.clock = ManualClock()
        self._middlewares = middlewares
        self.log = MemoryLog(self.clock, Bounds(max_messages=self.publish_bound, max_bytes=64 * 1024 * 1024))

    def bus(self) -> MemoryBus:
        bus = MemoryBus(
            self.clock,
            self.log,
            limits=FetchLimits(max_rows=self.fetch_rows, max_bytes=self.fetch_bytes),
            revoke_wait_s=self.revoke_wait_s,
        )
        for middleware in self._middlewares:
            bus.broker.add_middleware(middleware)
        return bus

    async def crash(self, bus: Bus) -> None:
        assert isinstance(bus, MemoryBus)
        bus.evict()
        await bus.close()

    async def freeze(self, bus: Bus) -> None:
        assert isinstance(bus, MemoryBus)
        bus.freeze()

    async def thaw(self, bus: Bus) -> None:
        assert isinstance(bus, MemoryBus)
        await bus.thaw()

    async def publish_raw(
        self, address: str, body: bytes, *, key: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        stranger = MemoryBroker(self.log, logger=None)
        await stranger.connect()
        try:
            await stranger.publish(body, address, key=key, headers=dict(headers or {}))
        finally:
            await stranger.stop()

    async def make_anew(self, address: str) -> None:
        self.log.drop(address)

    async def forget(self, address: str) -> None:
        topic = self.log.find(address)
        assert topic is not None
        for line in topic.lines()[1]:
            line.drop_below(line.end)
            line.past.pieces.clear()
            line.past.forgotten_at = self.clock.now()

    async def let_pass(self, delay_s: float) -> None:
        await self.clock.advance(delay_s)

    async def quiet(self) -> None:
        for _ in range(200):
            await next_turn()


@pytest.mark.parametrize("promise", PROMISES, ids=name_of)
async def test_whole_fetches(promise: Promise) -> None:
    await promise(MemoryBacking())


@pytest.mark.parametrize("promise", PROMISES, ids=name_of)
async def test_through_faststream_middlewares(promise: Promise) -> None:
    await promise(MemoryBacking((Passing,)))


async def test_middlewares_are_really_on_the_way() -> None:
    class Counting(Passing):
        consumed = 0
        published = 0

    await bus_messages.one_key_keeps_its_order(MemoryBacking((Counting,)))
    assert (Counting.consumed, Counting.published) == (400, 400)
