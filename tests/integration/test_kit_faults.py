"""Faults that the test kit injects: what becomes of the calls, and of the product that makes them."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import textwrap
from collections.abc import Sequence

import pytest

from adapters.bus.memory.bus import MemoryBus
from adapters.clock.manual import ManualClock
from adapters.clock.system import SystemClock
from adapters.ledger.memory import MemoryLedger
from contracts.errors import LeaseLost, Unavailable
from contracts.job import JobState
from contracts.message import Contract, Delivery, Envelope
from contracts.module import Module, Route
from contracts.ports.bus import Assignment
from tests.kit.faults import Delay, Drop, Duplicate, Fail, Faults, Reorder
from tests.kit.harness import harness
from tests.kit.waiting import until

pytestmark = pytest.mark.anyio


class Port:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[int] = []
        self.name = "a port"

    async def tell(self, number: int) -> int:
        self.told.append(number)
        return len(self.told)

    async def take(self, most: int) -> list[int]:
        taken, self.told = self.told[:most], self.told[most:]
        return taken

    def count(self) -> int:
        return len(self.told)


async def tell_all(port: Port, *numbers: int) -> list[int]:
    return [await port.tell(number) for number in numbers]


async def test_without_a_fault_nothing_changes() -> None:
    inner = Port()
    port = Faults().around(inner)
    assert await tell_all(port, 1, 2) == [1, 2]
    assert (port.count(), port.name, inner.told) == (2, "a port", [1, 2])


async def test_a_dropped_call_is_not_made() -> None:
    faults, inner = Faults(), Port()
    dropped = faults.at("tell", Drop(answer=7), nth=2)
    port = faults.around(inner)
    await port.tell(1)
    assert not dropped.fired.is_set()
    assert await tell_all(port, 2, 3) == [7, 2]
    assert inner.told == [1, 3]
    assert (dropped.fired.is_set(), dropped.calls) == (True, 3)


async def test_a_duplicated_call_is_made_twice() -> None:
    faults, inner = Faults(), Port()
    faults.at("tell", Duplicate(), times=2)
    await tell_all(faults.around(inner), 1, 2, 3)
    assert inner.told == [1, 1, 2, 2, 3]


async def test_a_reordered_call_is_made_after_the_next() -> None:
    faults, inner = Faults(), Port()
    faults.at("tell", Reorder(), nth=2)
    faults.at("tell", Reorder(), nth=4)
    await tell_all(faults.around(inner), 1, 2, 3, 4)
    assert inner.told == [1, 3, 2]
    await faults.let_go()
    assert inner.told == [1, 3, 2, 4]


async def test_a_delayed_call_is_made_when_its_time_has_come(clock: ManualClock) -> None:
    faults, inner = Faults(), Port()
    faults.at("tell", Delay(delay_s=5, clock=clock))
    telling = asyncio.gather(faults.around(inner).tell(1))
    await clock.advance(4)
    assert inner.told == []
    await clock.advance(1)
    await telling
    assert inner.told == [1]


async def test_a_call_fails_before_or_after_it_is_made() -> None:
    faults, inner = Faults(), Port()
    faults.at("tell", Fail(error=lambda: Unavailable("the port", "it was told to fail")))
    faults.at("tell", Fail(error=lambda: Unavailable("the port", "its answer is lost")), nth=2, after=True)
    port = faults.around(inner)
    with pytest.raises(Unavailable, match="told to fail"):
        await port.tell(1)
    await port.tell(2)
    with pytest.raises(Unavailable, match="answer is lost"):
        await port.tell(3)
    assert inner.told == [2, 3]


async def test_calls_without_an_answer_can_be_left_out_of_the_count() -> None:
    faults, inner = Faults(), Port()
    faults.at("take", Fail(error=lambda: Unavailable("the port", "lost")), after=True, if_any=True)
    port = faults.around(inner)
    assert await port.take(1) == []
    await port.tell(1)
    with pytest.raises(Unavailable):
        await port.take(1)
    with pytest.raises(ValueError, match="after=True"):
        faults.at("take", Drop(), if_any=True)


async def test_the_same_seed_draws_the_same_faults() -> None:
    async def told(seed: int) -> Sequence[int]:
        faults, inner = Faults(seed=seed), Port()
        faults.at("tell", Drop(), chance=0.5)
        await tell_all(faults.around(inner), *range(64))
        return inner.told

    assert await told(1) == await told(1) != await told(2)
    assert 10 < len(await told(1)) < 54


async def test_a_process_ends_at_its_step() -> None:
    code = """
        import asyncio
        from tests.kit.faults import Faults, Kill

        async def main():
            faults = Faults()
            faults.at("halfway", Kill(), nth=2)
            for step in range(3):
                await faults.reach("halfway")
                print(step, flush=True)

        asyncio.run(main())
    """
    done = subprocess.run(  # noqa: ASYNC221 - there is nothing else to do meanwhile
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=15, check=False
    )
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "0\n"), done.stderr


class Count(Contract, frozen=True):
    to: int


def counting(ran: list[int]) -> Module:
    module = Module("counting", kind="job", summary="Counts.")

    @module.job("count.up", Count)
    async def count(cmd: Count) -> int:
        ran.append(cmd.to)
        return cmd.to

    return module


async def test_a_command_that_comes_twice_runs_once() -> None:
    ran: list[int] = []
    faults, clock = Faults(), SystemClock()
    doubled = faults.at("publish", Duplicate())
    async with harness(counting(ran), clock=clock, bus=faults.around(MemoryBus(clock))) as running:
        assert await running.job("count.up", Count(to=3)) == 3
        await running.settled()
    assert doubled.fired.is_set()
    assert ran == [3]


async def test_a_settlement_whose_answer_is_lost_is_told_again() -> None:
    ran: list[int] = []
    faults, clock = Faults(), SystemClock()
    lost = faults.at("queue.settle", Fail(error=lambda: Unavailable("the ledger", "gone")), after=True)
    ledger = faults.around(MemoryLedger(clock), parts=["queue"])
    async with harness(counting(ran), clock=clock, ledger=ledger) as running:
        row = await running.ended(await running.start("count.up", Count(to=3)))
    assert lost.fired.is_set()
    assert (row.state, ran) == (JobState.DONE, [3])


class Reader:
    """Commits what it is handed, and remembers whether that was refused."""

    def __init__(self, route: Route) -> None:
        self.route = route
        self.assignments: list[Assignment] = []
        self.fetches: list[Sequence[Delivery]] = []

    async def assigned(self, assignment: Assignment) -> None:
        self.assignments.append(assignment)

    def fetched(self, assignment: Assignment, deliveries: Sequence[Delivery]) -> None:
        assert assignment in self.assignments, "what is assigned is what is fetched for"
        self.fetches.append(deliveries)

    async def revoked(self, assignment: Assignment) -> None:
        self.assignments.remove(assignment)


async def test_an_assignment_is_lost_while_it_commits() -> None:
    faults, clock = Faults(), SystemClock()
    faults.at("assignment.commit", Fail(error=lambda: LeaseLost("the partition is another's")))
    module = Module("reading", kind="worker", summary="Reads.")

    @module.stream("counts", Count)
    async def read(message: Count) -> None: ...

    bus = faults.around(MemoryBus(clock))
    reader = Reader(module.routes[0])
    bus.mount(reader, schema={})
    await bus.open()
    await bus.start()
    await bus.publish(Envelope(id="1", address="counts", body=b'{"to":1}', published_at=clock.now()))
    await until(lambda: bool(reader.fetches))
    (delivery,) = reader.fetches[0]
    (assignment,) = [one for one in reader.assignments if one.partition == delivery.partition]
    with pytest.raises(LeaseLost):
        await assignment.commit(delivery.position + 1)
    await assignment.commit(delivery.position + 1)
    await bus.close()
    assert reader.assignments == []
