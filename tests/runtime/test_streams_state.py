"""What a stream's handler remembers of a partition: in memory from batch to batch, in the ledger with each position."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest

from adapters.bus.memory.log import MemoryLog
from adapters.clock.manual import ManualClock
from adapters.ledger.memory import MemoryLedger
from contracts import metrics as metric
from contracts.errors import BadInput, Blocked, Faults
from contracts.message import Contract
from contracts.module import Batch, Module, Retry
from contracts.ports import Clock, Emit, State
from runtime.readiness import Readiness
from runtime.streams.passage import Passage
from runtime.streams.scope import StreamScope
from tests.kit.harness import HarnessBus, Running, harness

pytestmark = pytest.mark.anyio


class Order(Contract, frozen=True):
    number: int


class Total(Contract, frozen=True):
    sum: int


class Sums:
    """A module that adds up what comes. `restored` are the sums that it began with, `calls` what each was given."""

    def __init__(self, *, tick_s: float | None = None, partitions: int = 1) -> None:
        self.module = Module("sums", kind="worker", summary="Adds up.")
        self.restored: list[int] = []
        self.calls: list[list[int]] = []
        self.positions: list[range | None] = []
        self.poisonous: set[int] = set()
        self.flaky: dict[int, int] = {}

        @self.module.stream(
            "orders",
            Order,
            batch=Batch(rows=3, wait_s=0.5),
            partitions=partitions,
            retry=Retry(attempts=3, first_s=1.0),
            tick_s=tick_s,
        )
        async def add(orders: Sequence[Order], state: State, emit: Emit) -> None:
            totals = await state.restored(self._make)
            self.calls.append([order.number for order in orders])
            self.positions.append(state.positions)
            for order in orders:
                totals["sum"] += order.number
                if order.number in self.poisonous:
                    raise BadInput("poisonous")
                if self.flaky.get(order.number, 0):
                    self.flaky[order.number] -= 1
                    raise RuntimeError("flaky")
            state.save("sum", b"%d" % totals["sum"])
            await emit("totals", Total(sum=totals["sum"]), key=str(state.partition.index))

    def _make(self, saved: Mapping[str, bytes]) -> dict[str, int]:
        self.restored.append(int(saved.get("sum", b"0")))
        return {"sum": self.restored[-1]}


async def publish(running: Running, *numbers: int, key: str = "k") -> None:
    await running.publish("orders", *(Order(number=number) for number in numbers), key=key)


def totals(running: Running) -> list[int]:
    return [one.sum for one in running.emitted("totals", Total)]


async def test_it_stays_in_memory_from_batch_to_batch_and_is_restored_by_the_next_worker(clock: ManualClock) -> None:
    sums, log, ledger = Sums(), MemoryLog(clock), MemoryLedger(clock)
    async with harness(sums.module, clock=clock, bus=HarnessBus(clock, log), ledger=ledger) as running:
        await publish(running, 1, 2, 3, 4, 5, 6, 7)
        await running.settled()
        assert totals(running) == [6, 21, 28]
    assert (sums.restored, sums.positions) == ([0], [range(3), range(3, 6), range(6, 7)])
    async with harness(sums.module, clock=clock, bus=HarnessBus(clock, log), ledger=ledger) as running:
        await publish(running, 8)
        await running.settled()
        assert totals(running) == [36]
    assert sums.restored == [0, 28]


async def test_what_an_attempt_that_failed_has_done_to_it_is_undone(clock: ManualClock) -> None:
    sums = Sums()
    sums.flaky = {5: 1}
    async with harness(sums.module, clock=clock) as running:
        await publish(running, 1, 2, 3, 4, 5, 6)
        await running.settled()
        assert totals(running) == [6, 21]
    assert sums.restored == [0, 6]


async def test_a_culprit_is_buried_and_counts_for_nothing(clock: ManualClock) -> None:
    sums = Sums()
    sums.poisonous = {2}
    async with harness(sums.module, clock=clock) as running:
        await publish(running, 1, 2, 3, 4)
        await running.settled()
        assert totals(running)[-1] == 8
        assert [letter.position for letter in await running.dead_letters()] == [1]


def passages() -> list[StreamScope | Passage]:
    # By `type`: `isinstance` asks a weak proxy for what it stands for, which may be gone.
    return [one for one in gc.get_objects() if type(one) in (StreamScope, Passage)]


async def test_a_batch_that_is_done_leaves_nothing_behind(clock: ManualClock) -> None:
    """Not even until garbage is collected: a batch has thousands of messages, and the collector comes seldom."""
    sums = Sums()
    async with harness(sums.module, clock=clock) as running:
        of_other_tests = passages()
        gc.disable()
        try:
            await publish(running, *range(9))
            await running.settled()
            assert len(sums.calls) == 3
            assert [one for one in passages() if not any(one is other for other in of_other_tests)] == []
        finally:
            gc.enable()


async def test_each_partition_has_its_own(clock: ManualClock) -> None:
    sums = Sums(partitions=8)
    async with harness(sums.module, clock=clock) as running:
        for key in ("a", "b", "c"):
            await publish(running, 1, 2, 3, key=key)
        await running.settled()
        assert sum(totals(running)) == 18
    assert sums.restored.count(0) == len(sums.restored) > 1


# --- ticks ----------------------------------------------------------------------------------------------------------


async def test_a_quiet_partition_ticks_and_what_is_saved_then_is_kept(clock: ManualClock) -> None:
    sums = Sums(tick_s=10.0)
    async with harness(sums.module, clock=clock) as running:
        await publish(running, 1)
        await running.settled()
        await running.until(lambda: len(sums.calls) == 3)
        assert sums.calls == [[1], [], []]
        assert sums.positions == [range(1), None, None]
        assert clock.monotonic() >= 20.0
        await publish(running, 2)
        await running.settled()
        assert totals(running) == [1, 1, 1, 3]


async def test_a_tick_that_fails_harms_nothing(clock: ManualClock) -> None:
    module = Module("ticks", kind="worker", summary="Fails.")
    ticks = 0

    @module.stream("orders", Order, batch=Batch(rows=3), partitions=1, retry=Retry(attempts=1), tick_s=5.0)
    async def fail(orders: Sequence[Order], clock: Clock, state: State) -> None:
        nonlocal ticks
        if not orders:
            ticks += 1
            raise BadInput("nothing came")

    async with harness(module, clock=clock) as running:
        await running.until(lambda: ticks == 2)
        await publish(running, 1)
        await running.settled()
        assert await running.dead_letters() == []
        told = [line["context"]["error"] for line in running.lines() if line["level"] == "ERROR"]
        assert told == ["nothing came"] * ticks


async def test_what_is_blocked_waits_for_someone_and_is_never_buried(clock: ManualClock) -> None:
    module = Module("blocked", kind="worker", summary="Waits.")
    free = False
    taken: list[int] = []

    @module.stream("orders", Order, batch=Batch(rows=3), partitions=1, retry=Retry(attempts=2, first_s=0.1))
    async def take(orders: Sequence[Order], state: State) -> None:
        if not free:
            raise Blocked("the table has another column: drop it")
        taken.extend(order.number for order in orders)

    async with harness(module, clock=clock) as running:
        await publish(running, 1, 2, 3)
        await running.until(lambda: running.metrics.value(metric.BLOCKED, address="orders") >= 10)
        report = await Readiness(running.worker).report()
        [waiting] = report.routes
        assert (report.status, waiting.address) == ("unavailable", "orders"), "it is the only route"
        assert waiting.waits_for == ("someone: partition 0 is blocked",)
        free = True
        await running.settled()
        assert (await Readiness(running.worker).report()).status == "ok"
        assert taken == [1, 2, 3]
        assert await running.dead_letters() == []
        assert any("drop it" in line["context"].get("error", "") for line in running.lines())


async def test_state_that_can_not_be_read_blocks_and_buries_nothing(clock: ManualClock) -> None:
    """As another version has saved it. `reads` is that version coming."""
    module = Module("strange", kind="worker", summary="Remembers.")
    reads: Any = list[str]
    taken: list[int] = []

    @module.stream("orders", Order, batch=Batch(rows=2), partitions=1, retry=Retry(attempts=2, first_s=0.1))
    async def take(orders: Sequence[Order], state: State) -> None:
        def made(saved: Mapping[str, bytes]) -> Any:
            return {name: msgspec.json.decode(one, type=reads) for name, one in saved.items()}

        await state.restored(made)
        if orders[0].number < 0:
            state.save("it", b'{"a": 1}')
        taken.extend(order.number for order in orders)

    async with harness(module, clock=clock) as running:
        await publish(running, -1, 0)
        await running.settled()
        for owned in running.worker.streams.consumers[0].owned.values():
            owned.memory = None  # as in another process
        await publish(running, 1, 2)
        await running.until(lambda: running.metrics.value(metric.BLOCKED, address="orders") >= 3)
        assert any(
            "the state of orders/0 can't be read" in line["context"].get("error", "") for line in running.lines()
        )
        reads = dict[str, int]
        await running.settled()
        assert await running.dead_letters() == []
    assert taken == [-1, 0, 1, 2]


# --- messages as bytes, and routes of the catalog -------------------------------------------------------------------


async def test_a_raw_route_is_given_what_came(clock: ManualClock) -> None:
    module = Module("raw", kind="worker", summary="Takes anything.")
    seen: list[bytes] = []

    @module.stream("orders", Order, batch=Batch(rows=10), partitions=1, raw=True)
    async def take(bodies: Sequence[bytes]) -> None:
        seen.extend(bodies)

    async with harness(module, clock=clock) as running:
        await running.publish("orders", b"no JSON", Order(number=1))
        await running.settled()
        assert await running.dead_letters() == []
    assert seen == [b"no JSON", b'{"number":1}']


def test_what_only_batches_have_is_refused_to_others() -> None:
    module = Module("single", kind="worker", summary="One at a time.")

    @module.stream("orders", Order)
    async def take(order: Order, state: State) -> None: ...

    @module.stream("others", Order, batch=Batch(), raw=True)
    async def decoded(orders: Sequence[Order]) -> None: ...

    from runtime import injection
    from runtime.wiring import PROVIDED

    with pytest.raises(Faults) as refused:
        injection.check([module], PROVIDED)
    assert "asks for State, which only a stream's handler of batches has" in refused.value.faults[0]
    assert "must be annotated Sequence[bytes]" in refused.value.faults[1]


class Served(msgspec.Struct, kw_only=True):
    topics: tuple[str, ...] = ("orders", "returns")


async def test_routes_are_those_that_were_declared_and_asked_for(clock: ManualClock) -> None:
    module = Module("served", kind="service", summary="Takes what is declared.", arguments=Served)
    taken: list[tuple[str, int]] = []

    @module.from_catalog
    def declare(module: Module, catalog: object, arguments: Served) -> None:
        for topic in arguments.topics:
            for group in ("one", "two"):

                async def take(order: Order, of: str = f"{group}:{topic}") -> None:
                    taken.append((of, order.number))

                module.stream(topic, Order, group=group, partitions=1)(take)

    async with harness(module, clock=clock) as running:
        await running.publish("orders", Order(number=1))
        await running.publish("returns", Order(number=2))
        await running.settled()
    assert sorted(taken) == [("one:orders", 1), ("one:returns", 2), ("two:orders", 1), ("two:returns", 2)]
    assert module.routes == [], "the declaration itself stays as it is"
