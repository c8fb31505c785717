"""Messages that fail: tried again in their lane, buried when they can't succeed, never lost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from adapters.clock.manual import ManualClock
from adapters.ledger.memory import MemoryLedger
from contracts import metrics as metric
from contracts.errors import BadInput, LeaseLost, Unavailable
from contracts.message import Contract
from contracts.module import Module, Retry
from contracts.ports import Clock, Emit, Tx
from contracts.ports.ledger import DeadLetter
from tests.kit.harness import harness

pytestmark = pytest.mark.anyio


class Order(Contract, frozen=True):
    customer: str = "c"
    number: int = 0


class Failing:
    """A module whose handler raises what it is told to, once for each time that it is told."""

    def __init__(self, *, attempts: int = 3, first_s: float = 1.0, timeout_s: float = 30.0) -> None:
        self.module = Module("orders", kind="service", summary="Takes orders.")
        self.errors: dict[int, list[BaseException]] = {}
        self.tried: list[tuple[int, float]] = []
        self.done: list[int] = []
        self.takes_s = 0.0

        @self.module.stream(
            "orders.raw",
            Order,
            key="customer",
            retry=Retry(attempts=attempts, first_s=first_s, factor=2.0),
            timeout_s=timeout_s,
        )
        async def take(order: Order, clock: Clock) -> None:
            self.tried.append((order.number, clock.monotonic()))
            if errors := self.errors.get(order.number):
                raise errors.pop(0)
            if self.takes_s:
                await clock.sleep(self.takes_s)
            self.done.append(order.number)


async def test_a_retry_waits_in_its_lane_and_holds_up_no_other(clock: ManualClock) -> None:
    failing = Failing()
    failing.errors = {1: [RuntimeError("once"), RuntimeError("twice")]}
    async with harness(failing.module, clock=clock) as running:
        await running.publish("orders.raw", Order(customer="a", number=1), Order(customer="a", number=2))
        await running.publish("orders.raw", Order(customer="b", number=3))
        await running.settled()
        assert await running.dead_letters() == []
        assert running.metrics.value(metric.RETRIES, address="orders.raw") == 2
    assert failing.done == [3, 1, 2], "the other key went by, the same key waited behind"
    began, again, last = (at for number, at in failing.tried if number == 1)
    assert 0.1 <= again - began <= 1.0
    assert 0.2 <= last - again <= 2.0


async def test_after_its_attempts_a_message_is_buried_with_all_that_is_known(clock: ManualClock) -> None:
    failing = Failing(attempts=2)
    failing.errors = {1: [RuntimeError("first"), RuntimeError("second")]}
    async with harness(failing.module, clock=clock) as running:
        await running.publish("orders.raw", Order(number=1), headers={"who": "test"}, correlation_id="origin", key="c")
        await running.publish("orders.raw", Order(number=2))
        await running.settled()
        [letter] = await running.dead_letters("orders.raw")
        assert running.metrics.value(metric.DEAD_LETTERS, address="orders.raw", reason="failed 2 times") == 1
    assert (letter.reason, letter.error) == ("failed 2 times", "RuntimeError: second")
    assert "in take" in letter.traceback
    assert (letter.body, letter.key) == (b'{"customer":"c","number":1}', "c")
    assert (letter.headers, letter.correlation_id) == ({"who": "test"}, "origin")
    assert letter.origin.startswith("orders.raw/")
    assert failing.done == [2], "what stood behind it goes on"


async def test_a_permanent_failure_is_buried_at_once(clock: ManualClock) -> None:
    failing = Failing(attempts=5)
    failing.errors = {1: [BadInput("it can never succeed")]}
    async with harness(failing.module, clock=clock) as running:
        await running.publish("orders.raw", Order(number=1))
        await running.settled()
        [letter] = await running.dead_letters()
    assert (letter.reason, letter.error, len(failing.tried)) == ("permanent", "it can never succeed", 1)


async def test_what_cannot_be_decoded_is_buried_with_every_fault(clock: ManualClock) -> None:
    failing = Failing()
    async with harness(failing.module, clock=clock) as running:
        await running.publish("orders.raw", b'{"customer": 1, "number": "x"}', b"\xff\xfe")
        await running.settled()
        letters = await running.dead_letters()
    assert {letter.reason for letter in letters} == {"undecodable"}
    errors = " ".join(letter.error for letter in letters)
    assert "customer: Expected `str`" in errors
    assert "number: Expected `int`" in errors
    assert "not JSON" in errors
    assert failing.tried == []


async def test_a_dependency_that_is_down_uses_up_no_attempt(clock: ManualClock) -> None:
    failing = Failing(attempts=2)
    failing.errors = {1: [Unavailable("the database", "it is down") for _ in range(10)]}
    async with harness(failing.module, clock=clock) as running:
        await running.publish("orders.raw", Order(number=1))
        await running.settled()
        assert await running.dead_letters() == []
    assert (failing.done, len(failing.tried)) == ([1], 11)


async def test_a_handler_that_takes_too_long_is_ended_and_tried_again(clock: ManualClock) -> None:
    failing = Failing(attempts=2, timeout_s=5.0)
    failing.takes_s = 60.0
    async with harness(failing.module, clock=clock) as running:
        await running.publish("orders.raw", Order(number=1))
        await running.settled()
        [letter] = await running.dead_letters()
    assert letter.error == "the handler did not end within 5 s"
    first, second = (at for _, at in failing.tried)
    assert second - first >= 5.0


async def test_a_cancellation_that_nobody_asked_for_is_a_failure(clock: ManualClock) -> None:
    """Else a handler that awaits something cancelled would be released, and come again, for ever."""
    failing = Failing(attempts=2)
    failing.errors = {1: [asyncio.CancelledError(), asyncio.CancelledError()]}
    async with harness(failing.module, clock=clock) as running:
        await running.publish("orders.raw", Order(number=1), Order(number=2))
        await running.settled()
        [letter] = await running.dead_letters()
    assert letter.error == "the handler waited for something that was cancelled"
    assert failing.done == [2]


async def test_what_a_handlers_task_group_leaves_behind_is_no_cancellation_of_the_next(clock: ManualClock) -> None:
    """Up to Python 3.12 it leaves its task counted as being cancelled: the next message would be released for ever."""
    module, tried = Module("orders", kind="service", summary="Fails."), list[int]()

    async def fail() -> None:
        raise BadInput("wrong")

    @module.stream("orders.raw", Order, key="customer", retry=Retry(attempts=1))
    async def take(order: Order) -> None:
        tried.append(order.number)
        if order.number > 1:
            raise asyncio.CancelledError  # by something that it waited for
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())

    async with harness(module, clock=clock) as running:
        await running.publish("orders.raw", *(Order(customer="a", number=number) for number in (1, 2, 3)))
        await running.settled()
        letters = await running.dead_letters()
    cancelled = "the handler waited for something that was cancelled"
    assert (tried, sorted(letter.error for letter in letters)) == ([1, 2, 3], [cancelled, cancelled, "wrong"])


async def test_what_was_released_is_tried_again_in_its_place(clock: ManualClock) -> None:
    failing = Failing(attempts=1)
    failing.errors = {1: [LeaseLost("it belongs to another")]}
    async with harness(failing.module, clock=clock) as running:
        await running.publish("orders.raw", Order(number=1), Order(number=2))
        await running.settled()
        assert await running.dead_letters() == []
    assert failing.done == [1, 2], "no attempt was used up, and nothing overtook it"


class ShyLedger(MemoryLedger):
    """Its dead letters are not to be had until it is told so."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.down = True
        self.asked = 0
        self._bury = self.dead_letters.bury
        self.dead_letters.bury = self._bury_if_up  # type: ignore[method-assign]

    async def _bury_if_up(self, letters: Sequence[DeadLetter], *, tx: Tx | None = None) -> None:
        self.asked += 1
        if self.down:
            raise Unavailable("the ledger", "it is down")
        await self._bury(letters, tx=tx)


async def test_while_the_ledger_is_down_what_is_to_be_buried_is_kept(clock: ManualClock) -> None:
    failing, ledger = Failing(), ShyLedger(clock)
    failing.errors = {1: [BadInput("wrong")]}
    async with harness(failing.module, clock=clock, ledger=ledger) as running:
        await running.publish("orders.raw", Order(customer="a", number=1), Order(customer="a", number=2))
        await running.publish("orders.raw", Order(customer="b", number=3))
        await running.until(lambda: ledger.asked > 3)
        assert failing.done == [3], "its lane waits, the others go on"
        assert running.bus.log.stats("orders.raw").messages > 0, "it is not acknowledged"  # type: ignore[attr-defined]
        ledger.down = False
        await running.settled()
        assert [letter.error for letter in await running.dead_letters()] == ["wrong"]
    assert failing.done == [3, 2]


async def test_what_a_failed_attempt_emitted_never_left_and_ids_stay_the_same(clock: ManualClock) -> None:
    module = Module("orders", kind="service", summary="Takes orders.")
    ids: list[list[str]] = []

    @module.stream("orders.raw", Order, retry=Retry(attempts=2, first_s=0.1))
    async def take(order: Order, emit: Emit) -> None:
        ids.append([await emit("orders.out", order), await emit("orders.out", order)])
        if len(ids) == 1:
            raise RuntimeError("after it has emitted")

    async with harness(module, clock=clock) as running:
        await running.publish("orders.raw", Order(number=1))
        await running.settled()
        assert len(running.emitted("orders.out", Order)) == 2
    first, second = ids
    assert first == second
    assert len(set(first)) == 2


async def test_logs_carry_the_origin_of_the_message(clock: ManualClock) -> None:
    failing = Failing(attempts=1)
    failing.errors = {1: [RuntimeError("no")]}
    async with harness(failing.module, clock=clock) as running:
        await running.publish("orders.raw", Order(number=1), correlation_id="origin-1")
        await running.settled()
        [line] = [line for line in running.lines() if line["message"] == "buried"]
    assert (line["correlation_id"], line["module"]) == ("origin-1", "orders")
