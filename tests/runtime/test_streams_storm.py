"""A route of which nearly all messages fail is paused, so that a fault of ours doesn't bury a whole topic."""

from __future__ import annotations

import pytest

from adapters.clock.manual import ManualClock
from contracts.message import Contract
from contracts.module import Module, Retry
from runtime.policy.storm import FIRST_PAUSE_S, TRIAL, WINDOW
from runtime.streams.consumer import STORM
from tests.kit.harness import Running, harness

pytestmark = pytest.mark.anyio


class Order(Contract, frozen=True):
    number: int


class Broken:
    """A module whose handler fails for as long as it is `broken`; another route of it is sound."""

    def __init__(self) -> None:
        self.module = Module("orders", kind="service", summary="Takes orders.")
        self.broken = True
        self.handled: list[int] = []
        self.beside: list[int] = []

        @self.module.stream("orders.raw", Order, partitions=1, lanes=1, retry=Retry(attempts=1))
        async def take(order: Order) -> None:
            if self.broken:
                raise RuntimeError("a release that went wrong")
            self.handled.append(order.number)

        @self.module.stream("orders.other", Order, partitions=1)
        async def other(order: Order) -> None:
            self.beside.append(order.number)


async def paused(running: Running) -> None:
    [consumer] = [one for one in running.worker.streams.consumers if one.route.address == "orders.raw"]
    await running.until(lambda: STORM in consumer.paused, what="the pause of the storm")


async def test_a_storm_pauses_its_route_and_no_other(clock: ManualClock) -> None:
    broken = Broken()
    async with harness(broken.module, clock=clock) as running:
        await running.publish("orders.raw", *(Order(number=number) for number in range(200)))
        await paused(running)
        began = clock.monotonic()
        assert len(await running.dead_letters()) == WINDOW, "the rest is spared"
        await running.publish("orders.other", Order(number=1))
        await running.until(lambda: broken.beside == [1], what="the other route")
        assert any(line["message"] == STORM and line["level"] == "ERROR" for line in running.lines())
        assert clock.monotonic() - began < FIRST_PAUSE_S

        broken.broken = False
        await running.settled()
        assert clock.monotonic() - began >= FIRST_PAUSE_S
        assert len(await running.dead_letters()) == WINDOW
    assert broken.handled == list(range(WINDOW, 200)), "it goes on where it stood, in order"


async def test_while_it_stays_broken_few_are_tried_after_each_pause(clock: ManualClock) -> None:
    broken = Broken()
    async with harness(broken.module, clock=clock) as running:
        await running.publish("orders.raw", *(Order(number=number) for number in range(200)))
        await paused(running)
        await clock.advance(FIRST_PAUSE_S + 1.0)
        await paused(running)
        assert len(await running.dead_letters()) == WINDOW + TRIAL
        await clock.advance(FIRST_PAUSE_S + 1.0)
        assert len(await running.dead_letters()) == WINDOW + TRIAL, "the second pause is longer"
