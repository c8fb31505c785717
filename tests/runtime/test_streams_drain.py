"""Draining stream routes: what runs may finish, what doesn't goes back, and the next worker gets exactly that."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from adapters.clock.manual import ManualClock
from contracts.errors import BadInput
from contracts.message import Contract
from contracts.module import Batch, Module, Overrun, Retry
from contracts.ports import Clock
from tests.kit.harness import HarnessBus, Running, harness

pytestmark = pytest.mark.anyio


class Order(Contract, frozen=True):
    customer: str = "c"
    number: int = 0


class Slow:
    """A module whose handlers take as long as they are told: `handled` is what they ended."""

    def __init__(self, *, overrun: Overrun = "requeue", lanes: int = 64) -> None:
        self.module = Module("orders", kind="service", summary="Takes orders.")
        self.takes_s = 1.0
        self.began: list[int] = []
        self.handled: list[int] = []
        self.cancelled: list[int] = []

        @self.module.stream("orders.raw", Order, key="customer", overrun=overrun, lanes=lanes, timeout_s=1000)
        async def take(order: Order, clock: Clock) -> None:
            self.began.append(order.number)
            try:
                await clock.sleep(self.takes_s)
            except asyncio.CancelledError:
                self.cancelled.append(order.number)
                raise
            self.handled.append(order.number)


async def ids_of(running: Running, *orders: Order) -> list[str]:
    for order in orders:
        await running.publish("orders.raw", order)
    published = getattr(running.bus, "published", [])
    return [envelope.id for envelope in published][-len(orders) :]


async def test_what_runs_may_finish(clock: ManualClock) -> None:
    slow = Slow()
    async with harness(slow.module, clock=clock) as running:
        ids = await ids_of(running, *(Order(customer=f"c{n}", number=n) for n in range(3)))
        await running.until(lambda: len(slow.began) == 3)
        report = await running.stop()
    assert report.clean
    assert report.fates == dict.fromkeys(ids, "finished")
    assert sorted(slow.handled) == [0, 1, 2]


async def test_what_waits_goes_back_and_the_next_worker_does_it(clock: ManualClock) -> None:
    slow, second = Slow(lanes=2), Slow()
    async with harness(slow.module, clock=clock) as running:
        for number in range(6):
            await running.publish("orders.raw", Order(customer=f"c{number}", number=number))
        await running.until(lambda: len(slow.began) == 2)
        log = running.bus.log  # type: ignore[attr-defined]
        report = await running.stop()
        assert report.clean
        assert len(report.fates) == 2, "what had not begun is nobody's loss"
    assert len(slow.handled) == 2
    async with harness(second.module, clock=clock, bus=HarnessBus(clock, log)) as running:
        await running.settled()
    assert sorted(slow.handled + second.handled) == list(range(6)), "each once"


async def test_at_the_deadline_it_is_cut_and_handed_back(clock: ManualClock) -> None:
    slow, second = Slow(overrun="requeue"), Slow()
    slow.takes_s = 1e6
    async with harness(slow.module, clock=clock, drain_timeout_s=10) as running:
        [first_id] = await ids_of(running, Order(number=1))
        await running.publish("orders.raw", Order(number=2))
        await running.until(lambda: slow.began == [1])
        log = running.bus.log  # type: ignore[attr-defined]
        report = await running.stop()
    assert (report.clean, report.fates) == (False, {first_id: "requeued"})
    assert 10 <= report.seconds <= 15
    assert (slow.cancelled, slow.handled) == ([1], [])
    async with harness(second.module, clock=clock, bus=HarnessBus(clock, log)) as running:
        await running.settled()
    assert second.handled == [1, 2], "in order, from the one that was cut"


async def test_a_route_can_say_that_what_is_cut_is_over(clock: ManualClock) -> None:
    slow, second = Slow(overrun="cancel"), Slow()
    slow.takes_s = 1e6
    async with harness(slow.module, clock=clock, drain_timeout_s=10) as running:
        [first_id] = await ids_of(running, Order(number=1))
        await running.until(lambda: slow.began == [1])
        log = running.bus.log  # type: ignore[attr-defined]
        report = await running.stop()
    assert report.fates == {first_id: "cancelled"}
    async with harness(second.module, clock=clock, bus=HarnessBus(clock, log)) as running:
        await running.settled()
    assert second.handled == []


async def test_a_second_signal_cuts_at_once(clock: ManualClock) -> None:
    slow = Slow()
    slow.takes_s = 1e6
    async with harness(slow.module, clock=clock, drain_timeout_s=1000) as running:
        [first_id] = await ids_of(running, Order(number=1))
        await running.until(lambda: slow.began == [1])
        running.worker.supervisor.stop("SIGTERM")
        running.worker.supervisor.stop("SIGTERM")
        report = await running.stop()
    assert (report.fates, report.seconds) == ({first_id: "requeued"}, 0.0)


async def test_a_message_that_waits_for_its_next_attempt_holds_up_no_drain(clock: ManualClock) -> None:
    module = Module("orders", kind="service", summary="Takes orders.")
    tried = []

    @module.stream("orders.raw", Order, retry=Retry(attempts=5, first_s=500.0, max_s=500.0), in_lane_s=1e6)
    async def take(order: Order) -> None:
        tried.append(order.number)
        raise RuntimeError("not now")

    async with harness(module, clock=clock, drain_timeout_s=30) as running:
        [first_id] = await ids_of(running, Order(number=1))
        await running.until(lambda: tried == [1])
        report = await running.stop()
    assert report.fates == {first_id: "requeued"}
    assert report.seconds < 1.0


async def test_what_fails_while_draining_is_not_tried_again_here(clock: ManualClock) -> None:
    module = Module("orders", kind="service", summary="Takes orders.")
    tried = []

    @module.stream("orders.raw", Order, retry=Retry(attempts=5, first_s=0.1))
    async def take(order: Order, clock: Clock) -> None:
        tried.append(order.number)
        await clock.sleep(1.0)
        raise RuntimeError("too late")

    async with harness(module, clock=clock) as running:
        [first_id] = await ids_of(running, Order(number=1))
        await running.until(lambda: tried == [1])
        report = await running.stop()
    assert (report.fates, tried) == ({first_id: "requeued"}, [1])


async def test_a_batch_that_is_cut_goes_back_whole_and_its_halves_are_not_tried(clock: ManualClock) -> None:
    module = Module("orders", kind="service", summary="Takes orders.")
    calls = []

    @module.stream("orders.raw", Order, batch=Batch(rows=4, wait_s=0.1), timeout_s=1e6, partitions=1)
    async def take(orders: Sequence[Order], clock: Clock) -> None:
        calls.append([order.number for order in orders])
        if len(orders) == 4:
            raise BadInput("looked for, half by half")
        await clock.sleep(1e5)

    async with harness(module, clock=clock, drain_timeout_s=10) as running:
        ids = await ids_of(running, *(Order(number=n) for n in range(4)))
        await running.until(lambda: len(calls) == 2)
        report = await running.stop()
    assert calls == [[0, 1, 2, 3], [0, 1]], "the other half is not begun"
    assert report.fates == dict.fromkeys(ids, "requeued")


async def test_a_batch_that_is_not_full_goes_back_without_a_call(clock: ManualClock) -> None:
    module = Module("orders", kind="service", summary="Takes orders.")
    calls = []

    @module.stream("orders.raw", Order, batch=Batch(rows=100, wait_s=60.0), partitions=1)
    async def take(orders: Sequence[Order]) -> None:
        calls.append(len(orders))

    async with harness(module, clock=clock) as running:
        await running.publish("orders.raw", *(Order(number=n) for n in range(3)))
        await clock.advance(1.0)
        log = running.bus.log  # type: ignore[attr-defined]
        assert (await running.stop()).clean
    await clock.advance(120.0)
    assert calls == []
    async with harness(module, clock=clock, bus=HarnessBus(clock, log)) as running:
        await running.settled()
    assert calls == [3]


async def test_only_what_is_finished_without_a_gap_is_committed(clock: ManualClock) -> None:
    module = Module("orders", kind="service", summary="Takes orders.")
    gate, handled = asyncio.Event(), []

    @module.stream("orders.raw", Order, key="customer", partitions=1, timeout_s=1e6)
    async def take(order: Order) -> None:
        if order.number == 0:
            await gate.wait()
        handled.append(order.number)

    async with harness(module, clock=clock, drain_timeout_s=1) as running:
        await running.publish("orders.raw", *(Order(customer=f"c{n}", number=n) for n in range(4)))
        await running.until(lambda: len(handled) == 3)
        await clock.advance(1.0)
        log = running.bus.log  # type: ignore[attr-defined]
        assert log.stats("orders.raw").lag == {"orders": 4}, "the first one is not finished: nothing is committed"
        await running.stop()
    gate.set()
    handled.clear()
    async with harness(module, clock=clock, bus=HarnessBus(clock, log)) as running:
        await running.settled()
        assert log.stats("orders.raw").lag == {"orders": 0}
    assert handled == [0, 1, 2, 3], "at least once: what stood above the gap comes again"


async def test_two_workers_share_the_partitions(clock: ManualClock) -> None:
    first, second = Slow(), Slow()
    async with harness(first.module, clock=clock) as one:
        bus = HarnessBus(clock, one.bus.log)  # type: ignore[attr-defined]
        async with harness(second.module, clock=clock, bus=bus) as other:
            for number in range(40):
                await one.publish("orders.raw", Order(customer=f"c{number}", number=number))
            await other.settled()
            await one.settled()
    assert first.handled
    assert second.handled
    assert sorted(first.handled + second.handled) == list(range(40))


async def test_a_partition_that_goes_away_starts_nothing_more_here(clock: ManualClock) -> None:
    """What waits in lanes belongs to the next owner at once; what runs may finish, and is committed."""
    first, second = Slow(lanes=1), Slow()
    async with harness(first.module, clock=clock) as one:
        for number in range(30):
            await one.publish("orders.raw", Order(customer=f"c{number}", number=number))
        await one.until(lambda: len(first.began) == 1)
        bus = HarnessBus(clock, one.bus.log)  # type: ignore[attr-defined]
        async with harness(second.module, clock=clock, bus=bus) as other:
            await other.settled()
            await one.settled()
    assert second.handled
    assert sorted(first.handled + second.handled) == list(range(30)), "nothing was done twice"


async def test_nothing_is_left_running(clock: ManualClock) -> None:
    module = Module("orders", kind="service", summary="Takes orders.")

    @module.stream("orders.batched", Order, batch=Batch(rows=100, wait_s=60.0))
    async def take_all(orders: Sequence[Order]) -> None:
        raise AssertionError("not full, and not waited for")

    @module.stream("orders.raw", Order, retry=Retry(attempts=5, first_s=500.0, max_s=500.0))
    async def take(order: Order) -> None:
        raise RuntimeError("later")

    before = asyncio.all_tasks()
    async with harness(module, clock=clock) as running:
        await running.publish("orders.batched", Order(number=1))
        await running.publish("orders.raw", Order(number=2))
        await clock.advance(1.0)
    assert asyncio.all_tasks() == before
    assert clock.waiting == 0
