"""Back-pressure from a full lane to the publisher: nothing grows without a bound, and nothing is lost."""

from __future__ import annotations

import asyncio

import pytest

from adapters.bus.memory.bus import MemoryBus
from adapters.bus.memory.log import MemoryLog
from adapters.bus.memory.mounted import FetchLimits
from adapters.bus.memory.topic import Bounds
from adapters.clock.manual import ManualClock
from contracts import metrics as metric
from contracts.errors import Transient
from contracts.message import Contract
from contracts.module import Module
from runtime.streams import partition
from tests.kit.harness import harness

pytestmark = pytest.mark.anyio


class Order(Contract, frozen=True):
    number: int = 0


async def test_a_partition_whose_lanes_are_full_is_fetched_from_no_more(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition, "MAX_OPEN", 10)
    module = Module("orders", kind="service", summary="Takes orders.")
    gate, handled = asyncio.Event(), []

    @module.stream("orders.raw", Order, partitions=1, timeout_s=1e6)
    async def take(order: Order) -> None:
        await gate.wait()
        handled.append(order.number)

    log = MemoryLog(clock, Bounds(max_messages=2_000, publish_wait_s=5.0))
    async with harness(module, clock=clock, bus=MemoryBus(clock, log, limits=FetchLimits(max_rows=20))) as running:
        await running.publish("orders.raw", *(Order(number=n) for n in range(2_000)))
        await clock.advance(1.0)
        [consumer] = running.worker.streams.consumers
        waiting = running.metrics.value(metric.LANE_DEPTH, address="orders.raw")
        assert len(consumer.passages) + waiting <= 10 + 20, "the bound, and the fetch that went over it"
        late = asyncio.gather(running.publish("orders.raw", Order(number=-1)), clock.advance(6.0))
        with pytest.raises(Transient, match="is full"):
            await late
        gate.set()
        await running.settled()
    assert sorted(handled) == list(range(2_000))
