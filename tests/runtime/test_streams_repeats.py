"""`dedupe_s`: what has one id is handled once, also where one of them waits while the other one is handled.

Both were found by the simulation (`tests/simulation`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from zlib import crc32

import pytest

from adapters.clock.manual import ManualClock
from contracts.errors import Transient
from contracts.message import Contract
from contracts.module import Batch, Module, Retry
from tests.kit.harness import harness

pytestmark = pytest.mark.anyio

LATER = Retry(attempts=3, first_s=10.0, max_s=10.0)
KEYS = {crc32(key.encode()) % 2: key for key in "abcdefgh"}
"""One for each of two partitions."""


class Order(Contract, frozen=True):
    """A message."""

    number: int


async def test_a_parked_message_whose_repeat_was_handled_is_not_handled(clock: ManualClock) -> None:
    module, handled, failed = Module("orders", kind="service", summary="Takes orders."), [], asyncio.Event()

    @module.stream("orders.raw", Order, partitions=1, retry=LATER, in_lane_s=0.5, dedupe_s=3600)
    async def take(order: Order) -> None:
        handled.append(order.number)
        if not failed.is_set():
            failed.set()
            raise Transient("not yet")

    async with harness(module, clock=clock) as running:
        await running.publish("orders.raw", Order(number=1), id="same")
        await running.until(failed.is_set)
        await running.publish("orders.raw", Order(number=2), id="same")
        await running.settled()
    assert handled == [1, 2]


async def test_a_batch_is_tried_again_without_what_was_handled_meanwhile(clock: ManualClock) -> None:
    module, handled, failed = Module("orders", kind="service", summary="Takes orders."), [], asyncio.Event()

    @module.stream("orders.raw", Order, partitions=2, retry=LATER, batch=Batch(rows=2, wait_s=0.1), dedupe_s=3600)
    async def take(orders: Sequence[Order]) -> None:
        handled.append([order.number for order in orders])
        if not failed.is_set():
            failed.set()
            raise Transient("not yet")

    async with harness(module, clock=clock) as running:
        await running.publish("orders.raw", Order(number=1), id="one", key=KEYS[0])
        await running.publish("orders.raw", Order(number=2), id="two", key=KEYS[0])
        await running.until(failed.is_set)
        await running.publish("orders.raw", Order(number=3), id="two", key=KEYS[1])
        await running.settled()
    assert handled == [[1, 2], [3], [1]]
