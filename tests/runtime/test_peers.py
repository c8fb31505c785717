"""What a worker can't read is left while a living one of another version may read it, and is buried after that."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from adapters.clock.manual import ManualClock
from adapters.ledger.memory import MemoryLedger
from contracts.errors import Unavailable, Undecodable
from contracts.job import Job, JobState
from contracts.message import Contract
from contracts.module import Batch, Module
from contracts.outcome import Dead, Done, Release
from contracts.ports.ledger import Worker
from runtime import schema
from runtime.partly import Partly
from runtime.peers import Peers
from tests.kit.harness import Running, harness

pytestmark = pytest.mark.anyio

ORDERS, COUNT = "orders.raw", "run.count"


class Order(Contract, frozen=True):
    """As the version before has it."""

    customer: str
    number: int


class Newer(Contract, frozen=True):
    """The same, in other words, and with a field more."""

    customer: str
    number: int
    note: str | None = None


class RunCount(Contract, frozen=True):
    name: str = "nobody"
    upto: int = 1


class Shop:
    """The module of the version before, and what it took."""

    def __init__(self, *, batch: bool = False) -> None:
        self.taken: list[tuple[str, int]] = []
        self.counted: list[str] = []
        self.module = Module("shop", kind="service", summary="Takes orders.")

        async def take(order: Order) -> None:
            self.taken.append((order.customer, order.number))

        async def take_all(orders: Sequence[Order]) -> None:
            self.taken += [(order.customer, order.number) for order in orders]

        if batch:
            self.module.stream(ORDERS, Order, batch=Batch(rows=3, wait_s=1), partitions=1)(take_all)
        else:
            self.module.stream(ORDERS, Order, key="customer", partitions=1)(take)

        @self.module.job(COUNT, RunCount, unique=("name",))
        async def count(cmd: RunCount) -> None:
            self.counted.append(cmd.name)


def order(customer: str, number: int, **more: str) -> bytes:
    return msgspec.json.encode({"customer": customer, "number": number, **more})


@asynccontextmanager
async def running(shop: Shop) -> AsyncIterator[Running]:
    async with harness(shop.module, clock=ManualClock()) as made:
        yield made


async def join(run: Running, contract: type[msgspec.Struct] = Newer) -> None:
    contracts = {address: schema.fingerprint_of(contract) for address in (ORDERS, COUNT)}
    newer = Worker(id="newer", host="there", pid=2, version="99", contracts=contracts)
    await run.ledger.leases.join(newer, lease_s=10**6)


async def blocked(run: Running) -> None:
    await run.until(lambda: any(line["message"] == "blocked" for line in run.lines()), what="a message that is left")


async def test_a_message_waits_and_what_has_its_key_waits_behind_it() -> None:
    async with running(shop := Shop()) as run:
        await join(run)
        await run.publish(ORDERS, order("ada", 0), order("ada", 1, note="new"), order("ada", 2), order("bob", 0))
        await blocked(run)
        await run.until(lambda: len(shop.taken) == 2, what="what is not behind it")
        assert shop.taken == [("ada", 0), ("bob", 0)]
        assert await run.dead_letters() == []
        [said] = {line["context"]["error"] for line in run.lines() if line["message"] == "blocked"}
        assert "worker newer (there, version 99) has another contract" in said
        await run.ledger.leases.leave("newer")
        await run.settled()
        [letter] = await run.dead_letters()
        assert letter.reason == "undecodable"
        assert shop.taken == [("ada", 0), ("bob", 0), ("ada", 2)]


async def test_a_batch_waits_whole_and_goes_on_without_it() -> None:
    async with running(shop := Shop(batch=True)) as run:
        await join(run)
        await run.publish(ORDERS, order("ada", 0), order("ada", 1, note="new"), order("ada", 2))
        await blocked(run)
        assert shop.taken == []
        assert await run.dead_letters() == []
        await run.ledger.leases.leave("newer")
        await run.settled()
        assert shop.taken == [("ada", 0), ("ada", 2)]
        assert [letter.reason for letter in await run.dead_letters()] == ["undecodable"]


async def test_a_drain_hands_a_waiting_batch_back() -> None:
    async with running(shop := Shop(batch=True)) as run:
        await join(run)
        await run.publish(ORDERS, order("ada", 0), order("ada", 1, note="new"), order("ada", 2))
        await blocked(run)
        report = await run.stop()
    assert set(report.fates.values()) == {"requeued"}
    assert shop.taken == []


async def test_a_command_is_recorded_for_the_newer_one_and_released_by_this_one() -> None:
    async with running(shop := Shop()) as run:
        await join(run)
        body = b'{"name": "ada", "label": "new"}'
        envelope = {"id": "new-command"}
        await run.publish(COUNT, body, **envelope)
        await run.job_is("new-command", lambda row: row.claims >= 2)
        row = await run.job_is("new-command", lambda row: row.state is JobState.QUEUED)
        assert (row.attempt, row.error) == (0, None), "it has cost it nothing"
        assert row.unique_key == 'run.count {"name":"ada"}', "that of every command of this name"
        assert await run.dead_letters() == []
        await run.ledger.leases.leave("newer")
        assert (await run.ended("new-command")).state is JobState.FAILED
        assert shop.counted == []


async def test_a_job_whose_checkpoint_can_not_be_read_is_left_as_well() -> None:
    module = Module("shop", kind="service", summary="Counts.")
    runs: list[int] = []

    @module.job(COUNT, RunCount)
    async def count(cmd: RunCount, job: Job) -> None:
        if not runs:
            runs.append(1)
            await job.checkpoint({"of": "another version"})
            raise Unavailable("the shop", "it is closed")
        job.saved(int)

    async with harness(module, clock=ManualClock()) as run:
        await join(run)
        job_id = await run.start(COUNT, RunCount())
        row = await run.job_is(job_id, lambda row: row.claims >= 3)
        assert row.attempt == 0
        await run.ledger.leases.leave("newer")
        ended = await run.ended(job_id)
        assert ended.state is JobState.FAILED
        assert "the checkpoint of job" in (ended.error or "")


async def test_a_command_whose_unique_key_can_not_be_read_is_buried() -> None:
    async with running(Shop()) as run:
        await join(run)
        # Its name is an object now: a change that is not additive.
        with pytest.raises(Undecodable, match="name"):
            await run.publish(COUNT, b'{"name": {"first": "ada"}}')
        [letter] = await run.dead_letters()
        assert letter.address == COUNT


async def test_what_nobody_reads_otherwise_is_buried_at_once() -> None:
    async with running(Shop()) as run:
        await join(run, Order)
        await run.ledger.leases.join(Worker(id="before", host="h", pid=3), lease_s=10**6)  # doesn't say how it reads
        await run.publish(ORDERS, order("ada", 1, note="new"))
        await run.settled()
        assert [letter.reason for letter in await run.dead_letters()] == ["undecodable"]
        assert not any(line["message"] == "blocked" for line in run.lines())


async def test_while_the_ledger_is_down_nobody_knows_and_it_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    async def down() -> list[Mapping[str, Any]]:
        raise Unavailable("the ledger", "it is down")

    ledger = MemoryLedger(ManualClock())
    monkeypatch.setattr(ledger.leases, "workers", down)
    peers = Peers(lambda: ledger, {ORDERS: "1"})
    assert isinstance(await peers.judged(Dead(reason="undecodable"), ORDERS), Release)
    assert await peers.judged(Done(1), ORDERS) == Done(1)
    assert await peers.judged(dead := Dead(reason="permanent"), ORDERS) is dead


def test_a_fingerprint_is_of_what_is_taken_and_not_of_what_is_said() -> None:
    class Same(Contract, frozen=True):
        """In other words."""

        customer: str
        number: int

    assert schema.fingerprint_of(Same) == schema.fingerprint_of(Order)
    assert schema.fingerprint_of(Newer) != schema.fingerprint_of(Order)

    class Described(Contract, frozen=True):
        description: str
        title: int = 0

    class Renamed(Contract, frozen=True):
        described: str
        title: int = 0

    assert schema.fingerprint_of(Described) != schema.fingerprint_of(Renamed), "a field may have such a name"


def test_fields_are_read_whatever_stands_beside_them() -> None:
    partly = Partly(RunCount, ["name"])
    assert partly.read(b'{"name": "ada", "label": 1, "upto": "many"}').name == "ada"
    assert partly.read(b"{}").name == "nobody"
    assert partly.read(b'{"name": 1}') is None
    assert partly.read(b"{") is None
    assert Partly(Order, ["customer"]).read(b'{"number": 1}') is None
