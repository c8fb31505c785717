"""Messages with one key stay in order; different keys run side by side."""

from __future__ import annotations

import asyncio
from collections import defaultdict

import pytest

from adapters.clock.manual import ManualClock
from contracts import metrics as metric
from contracts.message import Contract
from contracts.module import Module, Retry
from contracts.ports import Clock
from tests.kit.harness import harness

pytestmark = pytest.mark.anyio


class Order(Contract, frozen=True):
    customer: str | None
    number: int = 0


class Watched:
    """A module whose handler says when it begins and ends, and takes a second in between."""

    def __init__(self, *, lanes: int = 64, key: str | None = "customer") -> None:
        self.module = Module("orders", kind="service", summary="Takes orders.")
        self.began: list[Order] = []
        self.ended: list[Order] = []
        self.running: list[Order] = []
        self.most = 0

        @self.module.stream("orders.raw", Order, key=key, lanes=lanes, partitions=4, retry=Retry(attempts=1))
        async def take(order: Order, clock: Clock) -> None:
            self.began.append(order)
            self.running.append(order)
            self.most = max(self.most, len(self.running))
            await clock.sleep(1.0)
            self.running.remove(order)
            self.ended.append(order)


async def test_one_key_stays_in_order(clock: ManualClock) -> None:
    watched = Watched()
    async with harness(watched.module, clock=clock) as running:
        await running.publish("orders.raw", *(Order(customer=f"c{n % 3}", number=n) for n in range(30)))
        await running.settled()
    by_customer = defaultdict(list)
    for order in watched.ended:
        by_customer[order.customer].append(order.number)
    assert by_customer == {f"c{rest}": list(range(rest, 30, 3)) for rest in range(3)}
    assert watched.most == 3, "three keys run side by side, and never two messages of one"


async def test_a_slow_key_holds_up_no_other(clock: ManualClock) -> None:
    module = Module("orders", kind="service", summary="Takes orders.")
    gate, done = asyncio.Event(), []

    @module.stream("orders.raw", Order, key="customer")
    async def take(order: Order) -> None:
        if order.customer == "slow":
            await gate.wait()
        done.append(order.customer)

    async with harness(module, clock=clock) as running:
        await running.publish("orders.raw", Order(customer="slow"), *(Order(customer=f"c{n}") for n in range(20)))
        await running.until(lambda: len(done) == 20)
        gate.set()
        await running.settled()
    assert done[-1] == "slow"


async def test_messages_without_a_key_are_lanes_of_their_own(clock: ManualClock) -> None:
    watched = Watched(key=None)
    async with harness(watched.module, clock=clock) as running:
        await running.publish("orders.raw", *(Order(customer="same", number=n) for n in range(10)))
        await running.settled()
    assert watched.most == 10


async def test_a_null_key_is_no_key(clock: ManualClock) -> None:
    watched = Watched()
    async with harness(watched.module, clock=clock) as running:
        await running.publish("orders.raw", *(Order(customer=None, number=n) for n in range(10)))
        await running.settled()
    assert watched.most == 10


async def test_the_messages_own_key_orders_where_the_route_names_none(clock: ManualClock) -> None:
    watched = Watched(key=None)
    async with harness(watched.module, clock=clock) as running:
        await running.publish("orders.raw", *(Order(customer="same", number=n) for n in range(5)), key="one")
        await running.settled()
    assert (watched.most, [order.number for order in watched.ended]) == (1, list(range(5)))


async def test_lanes_bound_what_runs_at_once(clock: ManualClock) -> None:
    watched = Watched(lanes=3)
    async with harness(watched.module, clock=clock) as running:
        await running.publish("orders.raw", *(Order(customer=f"c{n}", number=n) for n in range(20)))
        await running.settled()
    assert (watched.most, len(watched.ended)) == (3, 20)


async def test_how_deep_the_lanes_are_is_measured(clock: ManualClock) -> None:
    watched = Watched(lanes=2)
    route = {"address": "orders.raw", "group": watched.module.name}
    async with harness(watched.module, clock=clock) as running:
        await running.publish("orders.raw", *(Order(customer=f"c{n}") for n in range(7)))
        await running.until(lambda: running.metrics.value(metric.LANE_DEPTH, address="orders.raw") == 5)
        assert running.metrics.value(metric.BACKLOG, **route) == 7, "what runs and what waits"
        await running.settled()
        assert running.metrics.value(metric.LANE_DEPTH, address="orders.raw") == 0
        await running.until(lambda: running.metrics.value(metric.BACKLOG, **route) == 0)


async def test_each_group_gets_every_message(clock: ManualClock) -> None:
    taken: dict[str, list[int]] = {"first": [], "second": []}

    def module_of(name: str) -> Module:
        module = Module(name, kind="service", summary="Takes orders.")

        @module.stream("orders.raw", Order, key="customer")
        async def take(order: Order) -> None:
            taken[name].append(order.number)

        return module

    async with harness(module_of("first"), module_of("second"), clock=clock) as running:
        await running.publish("orders.raw", *(Order(customer="c", number=n) for n in range(3)))
        await running.settled()
    assert taken == {"first": [0, 1, 2], "second": [0, 1, 2]}
