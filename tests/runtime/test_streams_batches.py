"""Batches: one call for many messages of one partition, in its order; whoever spoils one is found and buried alone."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from adapters.clock.manual import ManualClock
from contracts.errors import BadInput
from contracts.message import Contract
from contracts.module import Batch, Module, Retry
from contracts.ports import Clock
from tests.kit.harness import Running, harness

pytestmark = pytest.mark.anyio


class Order(Contract, frozen=True):
    number: int


class Batches:
    """A module that takes batches and fails as it is told; `calls` are the numbers of each call."""

    def __init__(self, *, rows: int = 10, wait_s: float = 0.5, attempts: int = 3, partitions: int = 1) -> None:
        self.module = Module("orders", kind="service", summary="Takes orders.")
        self.calls: list[list[int]] = []
        self.at: list[float] = []
        self.done: list[int] = []
        self.poisonous: set[int] = set()
        self.flaky: dict[int, int] = {}
        """How often a call that has this number still fails."""

        @self.module.stream(
            "orders.raw",
            Order,
            batch=Batch(rows=rows, wait_s=wait_s),
            partitions=partitions,
            retry=Retry(attempts=attempts, first_s=1.0),
        )
        async def take(orders: Sequence[Order], clock: Clock) -> None:
            numbers = [order.number for order in orders]
            self.calls.append(numbers)
            self.at.append(clock.monotonic())
            if culprits := self.poisonous & set(numbers):
                raise BadInput(f"poisonous: {sorted(culprits)}")
            for number in numbers:
                if self.flaky.get(number, 0) > 0:
                    self.flaky[number] -= 1
                    raise RuntimeError(f"flaky: {number}")
            self.done.extend(numbers)


async def publish(running: Running, *numbers: int) -> None:
    await running.publish("orders.raw", *(Order(number=number) for number in numbers))


async def test_a_full_batch_is_handed_over_at_once(clock: ManualClock) -> None:
    batches = Batches(rows=10)
    async with harness(batches.module, clock=clock) as running:
        await publish(running, *range(20))
        await running.until(lambda: len(batches.calls) == 2)
        assert batches.calls == [list(range(10)), list(range(10, 20))]
        assert batches.at == [0.0, 0.0]


async def test_a_batch_that_is_not_full_is_handed_over_after_its_wait(clock: ManualClock) -> None:
    batches = Batches(rows=10, wait_s=0.5)
    async with harness(batches.module, clock=clock) as running:
        await publish(running, 1)
        await clock.advance(0.3)
        await publish(running, 2)
        await clock.advance(0.199)
        assert batches.calls == []
        await clock.advance(0.001)
        assert batches.calls == [[1, 2]], "half a second after the first one, however late the last one came"
        assert batches.at == [pytest.approx(0.5)]


async def test_what_is_left_of_a_full_batch_waits_for_a_time_of_its_own(clock: ManualClock) -> None:
    batches = Batches(rows=3, wait_s=0.5)
    async with harness(batches.module, clock=clock) as running:
        await publish(running, 1)
        await clock.advance(0.4)
        await publish(running, 2, 3, 4)
        await clock.advance(0.1)
        assert batches.calls == [[1, 2, 3]]
        await clock.advance(0.4)
        assert batches.calls == [[1, 2, 3], [4]]


async def test_a_batch_has_no_more_bytes_than_it_may_unless_one_message_has(clock: ManualClock) -> None:
    module = Module("orders", kind="service", summary="Takes orders.")
    calls: list[list[int]] = []

    @module.stream("orders.raw", Order, batch=Batch(rows=5, wait_s=0.5, bytes=1000), partitions=1, raw=True)
    async def take(bodies: Sequence[bytes]) -> None:
        calls.append([len(body) for body in bodies])

    async with harness(module, clock=clock) as running:
        sizes = [400, 400, 300, 1500, 10, 10, 10, 10, 10, 10, 990]
        await running.publish("orders.raw", *map(bytes, sizes))
        await running.settled()
    assert [size for call in calls for size in call] == sizes
    assert all(len(call) <= 5 and (sum(call) <= 1000 or len(call) == 1) for call in calls)
    assert [400, 400] in calls
    assert [1500] in calls


async def test_batches_of_one_partition_run_one_after_another(clock: ManualClock) -> None:
    module = Module("orders", kind="service", summary="Takes orders.")
    running_now, most = 0, 0
    order: list[int] = []

    @module.stream("orders.raw", Order, batch=Batch(rows=2, wait_s=0.1), partitions=2)
    async def take(orders: Sequence[Order], clock: Clock) -> None:
        nonlocal running_now, most
        running_now += 1
        most = max(most, running_now)
        await clock.sleep(1.0)
        order.extend(one.number for one in orders)
        running_now -= 1

    async with harness(module, clock=clock) as running:
        for number in range(12):
            await running.publish("orders.raw", Order(number=number), key="even" if number % 2 == 0 else "b")
        await running.settled()
    assert most == 2, "one for each partition"
    assert [n for n in order if n % 2 == 0] == list(range(0, 12, 2))
    assert [n for n in order if n % 2] == list(range(1, 12, 2))


async def test_the_culprit_is_found_and_buried_alone(clock: ManualClock) -> None:
    batches = Batches(rows=100)
    batches.poisonous = {13, 77}
    async with harness(batches.module, clock=clock) as running:
        await publish(running, *range(100))
        await running.settled()
        letters = await running.dead_letters("orders.raw")
    assert sorted(letter.body for letter in letters) == [b'{"number":13}', b'{"number":77}']
    assert {letter.reason for letter in letters} == {"permanent"}
    assert all("poisonous" in letter.error for letter in letters)
    assert sorted(batches.done) == sorted(set(range(100)) - {13, 77}), "every other one was handled, once"
    assert len(batches.calls) <= 2 + 2 * 2 * 7, "halves, not one by one"


async def test_the_order_is_kept_while_the_culprit_is_looked_for(clock: ManualClock) -> None:
    batches = Batches(rows=16)
    batches.poisonous = {5}
    async with harness(batches.module, clock=clock) as running:
        await publish(running, *range(16), 16, 17)
        await running.settled()
    assert batches.done == [number for number in range(18) if number != 5]


async def test_what_cannot_be_decoded_is_buried_before_the_call(clock: ManualClock) -> None:
    batches = Batches(rows=4)
    async with harness(batches.module, clock=clock) as running:
        await running.publish("orders.raw", Order(number=1), b"not json", b'{"number": "x"}', Order(number=2))
        await running.settled()
        letters = await running.dead_letters("orders.raw")
    assert batches.calls == [[1, 2]]
    assert sorted(letter.body for letter in letters) == [b"not json", b'{"number": "x"}']
    assert {letter.reason for letter in letters} == {"undecodable"}
    assert any("number: Expected `int`" in letter.error for letter in letters)


async def test_a_batch_of_nothing_but_rubbish_calls_nobody(clock: ManualClock) -> None:
    batches = Batches(rows=2)
    async with harness(batches.module, clock=clock) as running:
        await running.publish("orders.raw", b"?", b"!")
        await running.settled()
        assert len(await running.dead_letters()) == 2
    assert batches.calls == []


async def test_a_transient_failure_retries_the_whole_batch(clock: ManualClock) -> None:
    batches = Batches(rows=4)
    batches.flaky = {2: 2}
    async with harness(batches.module, clock=clock) as running:
        await publish(running, *range(4))
        await running.settled()
        assert await running.dead_letters() == []
    assert batches.calls == [[0, 1, 2, 3]] * 3
    assert batches.at[2] > batches.at[1] > batches.at[0]


async def test_a_batch_that_fails_at_every_attempt_is_searched_with_one_attempt_for_each_part(
    clock: ManualClock,
) -> None:
    batches = Batches(rows=8, attempts=3)
    batches.flaky = {6: 1000}
    async with harness(batches.module, clock=clock) as running:
        await publish(running, *range(8))
        await running.settled()
        [letter] = await running.dead_letters()
    assert (letter.body, letter.reason) == (b'{"number":6}', "failed 3 times")
    assert batches.done == [0, 1, 2, 3, 4, 5, 7]
    assert batches.calls[:3] == [list(range(8))] * 3
    assert batches.calls[3:] == [[0, 1, 2, 3], [4, 5, 6, 7], [4, 5], [6, 7], [6], [7]]
