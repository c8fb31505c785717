"""What handlers emit: which ids it has, when it is sent, and when it isn't."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import msgspec
import pytest

from adapters.clock.manual import ManualClock
from adapters.database.postgres import PostgresDb
from adapters.ledger.memory import MemoryLedger
from contracts.errors import LeaseLost
from contracts.job import Job, NewJob
from contracts.message import Contract, Delivery, Envelope, Partition
from contracts.module import Module, Retry
from contracts.outcome import Release
from contracts.ports import Db, Emit
from contracts.ports.ledger import Settlement, Worker
from runtime.emit import CollectingEmitter, JobEmitter
from tests.kit.harness import Running, harness

pytestmark = pytest.mark.anyio


class Told(Contract, frozen=True, kw_only=True):
    number: int


class Run(Contract, frozen=True, kw_only=True):
    numbers: int = 3


def told(running: Running) -> list[int]:
    return [one.number for one in running.emitted("told", Told)]


def envelopes(running: Running) -> list[Envelope]:
    return [one for one in running.bus.published if one.address == "told"]  # type: ignore[attr-defined]


# Ids.


async def ids_of(clock: ManualClock, source: str, *numbers: int, by: str = "g", key: str | None = None) -> list[str]:
    emit = CollectingEmitter(clock, by=by, source_id=source, correlation_id="c")
    ids = [await emit("told", Told(number=number), key=key) for number in numbers]
    assert [one.id for one in emit.collected()] == ids
    return ids


async def test_ids_are_the_same_at_every_attempt_and_differ_otherwise(clock: ManualClock) -> None:
    first = await ids_of(clock, "a", 1, 1, 2)
    assert len(set(first)) == 3
    await clock.advance(60)
    assert await ids_of(clock, "a", 1, 1, 2) == first
    for other in (
        await ids_of(clock, "b", 1, 1, 2),
        await ids_of(clock, "a", 1, 1, 2, by="another group"),
        await ids_of(clock, "a", 1, 1, 2, key="k"),
    ):
        assert not {*other} & {*first}


async def test_what_is_emitted_says_where_it_comes_from(clock: ManualClock) -> None:
    emit = CollectingEmitter(clock, source_id="order-7", correlation_id="web:42")
    await emit("told", Told(number=1), key="k", headers={"mine": "1", "source-id": "forged"})
    [one] = emit.collected()
    assert (one.address, one.key, one.correlation_id, one.published_at) == ("told", "k", "web:42", clock.now())
    assert one.headers == {"mine": "1", "source-id": "order-7"}


async def test_a_run_that_resumes_sends_new_messages_under_new_ids_and_repeats_under_old_ones(
    clock: ManualClock,
) -> None:
    """As a job that saves how far it is after every second message, and dies."""
    ledger = MemoryLedger(clock)
    await ledger.leases.join(Worker(id="w", host="h", pid=1), lease_s=60)
    await ledger.queue.record([NewJob(id="j", address="run", body=b"{}")])
    ids: dict[int, set[str]] = {}

    async def run(until: int) -> None:
        [claim] = await ledger.queue.claim("w", {"run": 1})
        saved = claim.checkpoint
        emit = JobEmitter(ledger.outbox, clock, claim, checkpoint=lambda: saved)
        done = msgspec.json.decode(saved)["done"] if saved else 0
        for number in range(done, until):
            ids.setdefault(number, set()).add(await emit("told", Told(number=number)))
            if number % 2:
                saved = b'{"more": "x", "done": %d}' % (number + 1)
                # The ledger gives it back spaced and sorted in its own way.
                await ledger.queue.checkpoint(claim, b'{"done":%d,"more":"x"}' % (number + 1))
        await ledger.queue.settle([Settlement(claim=claim, outcome=Release(reason="it dies"))])

    for until in (3, 5, 6, 9):
        await run(until)
    assert all(len(of_one) == 1 for of_one in ids.values()), "a repeat has the id that it had"
    assert len(set.union(*ids.values())) == 9, "nothing new has an id that was given before"


async def test_who_saves_the_same_state_again_goes_on_counting(clock: ManualClock) -> None:
    ledger = MemoryLedger(clock)
    await ledger.leases.join(Worker(id="w", host="h", pid=1), lease_s=60)
    await ledger.queue.record([NewJob(id="j", address="run", body=b"{}")])
    [claim] = await ledger.queue.claim("w", {"run": 1})
    states: list[bytes | None] = [None, b"[1]", b"[2]", b"[1]", b"[2]"]
    emit = JobEmitter(ledger.outbox, clock, claim, checkpoint=lambda: states[0])
    ids = []
    while states:
        ids += [await emit("told", Told(number=1)), await emit("told", Told(number=1))]
        states.pop(0)
    assert len(set(ids)) == 10


# Streams.


async def test_what_a_failed_attempt_emitted_is_not_sent(clock: ManualClock) -> None:
    module = Module("orders", kind="service", summary="Takes orders.")
    attempts: list[str] = []

    @module.stream("orders.raw", Told, retry=Retry(attempts=2, first_s=0.1))
    async def take(order: Told, emit: Emit) -> None:
        attempts.append(await emit("told", Told(number=len(attempts))))
        if len(attempts) == 1:
            raise RuntimeError("after it has emitted")

    async with harness(module, clock=clock) as running:
        await running.publish("orders.raw", Told(number=1), correlation_id="web:42")
        await running.settled()
        assert told(running) == [1]
        [one] = envelopes(running)
    assert attempts == [one.id, one.id]
    assert one.correlation_id == "web:42"
    assert one.headers["source-id"]


# Jobs.


def emitting() -> Module:
    module = Module("telling", kind="job", summary="Tells.")

    @module.job("run.telling", Run, retry=Retry(attempts=2, first_s=0.1))
    async def run(cmd: Run, job: Job, emit: Emit, again: Emit) -> None:
        for number in range(cmd.numbers):
            await (again if number % 2 else emit)("told", Told(number=number), key="k")
        if job.attempt == 1:
            raise RuntimeError("after it has emitted")

    return module


async def test_what_a_job_emits_is_sent_whatever_becomes_of_the_run(clock: ManualClock) -> None:
    async with harness(emitting(), clock=clock) as running:
        await running.job("run.telling", Run())
        await running.settled()
        found = envelopes(running)
    assert len(found) == 6
    assert len({one.id for one in found}) == 3, "the second run's are repeats"
    assert {one.headers["source-id"] for one in found} == {found[0].headers["source-id"]}


async def test_what_waits_in_the_outbox_leaves_before_the_process_ends(clock: ManualClock) -> None:
    async with harness(emitting(), clock=clock) as running:
        await running.job("run.telling", Run())
        await running.stop()
        assert len({one.id for one in envelopes(running)}) == 3


async def test_a_run_that_lost_its_job_cannot_emit(clock: ManualClock) -> None:
    ledger = MemoryLedger(clock)
    await ledger.leases.join(Worker(id="w", host="h", pid=1), lease_s=5)
    await ledger.queue.record([NewJob(id="j", address="run", body=b"{}")])
    [claim] = await ledger.queue.claim("w", {"run": 1})
    emit = JobEmitter(ledger.outbox, clock, claim)
    await emit("told", Told(number=1))
    await clock.advance(6)
    await ledger.leases.reap()
    with pytest.raises(LeaseLost):
        await emit("told", Told(number=2))
    assert await ledger.outbox.backlog() == 1


@pytest.mark.integration
async def test_a_job_emits_within_its_own_transaction(db: PostgresDb) -> None:
    module = Module("telling", kind="job", summary="Tells.")

    @module.job("run.telling", Run)
    async def run(cmd: Run, job: Job, db: Db, emit: Emit) -> None:
        async with db.transaction() as tx:
            await emit("told", Told(number=1), key="k", tx=tx)
            await job.checkpoint({"done": 1}, tx=tx)
            await emit("told", Told(number=2), key="k", tx=tx)
        try:
            async with db.transaction() as tx:
                await emit("told", Told(number=3), key="k", tx=tx)
                await emit("told", Told(number=4), key="k")
                raise RuntimeError("undone")
        except RuntimeError:
            await emit("told", Told(number=5), key="k")

    async with harness(module, db=db) as running:
        await running.job("run.telling", Run())
        await running.settled()
        assert told(running) == [1, 2, 4, 5]


@pytest.mark.integration
async def test_a_message_emits_together_with_its_effects(db: PostgresDb) -> None:
    await db.execute("create table effects (n int)")
    module = Module("orders", kind="service", summary="Takes orders.")
    attempts: list[int] = []

    @module.stream("orders.raw", Told, retry=Retry(attempts=2, first_s=0.01))
    async def take(order: Told, db: Db, emit: Emit) -> None:
        attempts.append(order.number)
        await db.execute("insert into effects values ($1)", order.number)
        await emit("told", Told(number=order.number))
        if attempts.count(order.number) == 1:
            raise RuntimeError("after all of it")

    async with harness(module, db=db) as running:
        await running.publish("orders.raw", Told(number=1), Told(number=2))
        await running.settled()
        assert sorted(told(running)) == [1, 2]
        assert sorted(attempts) == [1, 1, 2, 2]
        rows = await db.fetch("select n from effects order by n")
    assert [row["n"] for row in rows] == [1, 2]


@pytest.mark.integration
async def test_a_worker_hears_of_what_another_one_added(db: PostgresDb) -> None:
    """And sends it, whoever it was: here someone who has no relay at all."""
    async with harness(emitting(), db=db) as running:
        await running.ledger.outbox.add([Envelope(id="a", address="told", body=b'{"number": 7}')], tx=None)
        async with asyncio.timeout(10):
            await running.until(lambda: told(running) == [7], what="the message")


def batch_of(*ids: str, first: int = 5) -> list[Delivery]:
    return [
        Delivery(
            Envelope(id=id_, address="orders", body=b"{}", correlation_id=f"web:{id_}"),
            Partition("orders", 1),
            first + at,
        )
        for at, id_ in enumerate(ids)
    ]


async def emitted_of(sources: Sequence[Delivery], *of: int | None) -> list[Envelope]:
    first = sources[0].envelope
    emit = CollectingEmitter(ManualClock(), by="g", source_id=first.id, correlation_id="c", sources=sources)
    for place in of:
        await emit("told", Told(number=1), key="k", of=place)
    return emit.collected()


async def test_what_comes_of_one_message_of_a_batch_has_its_identity_whatever_else_is_in_the_batch() -> None:
    one = await emitted_of(batch_of("a", "b", "c"), 0, 1, 1, 2)
    other = await emitted_of(batch_of("b", "d", first=90), 0, 0, 1)
    assert [envelope.id for envelope in one[1:3]] == [envelope.id for envelope in other[:2]]
    assert len({envelope.id for envelope in (*one, *other)}) == 5
    assert [envelope.headers["source-id"] for envelope in one] == ["a", "b", "b", "c"]
    assert [envelope.correlation_id for envelope in one] == ["web:a", "web:b", "web:b", "web:c"]


async def test_what_comes_of_a_batch_as_a_whole_is_not_that_of_another_which_begins_with_the_same_message() -> None:
    one = await emitted_of(batch_of("a", "b"), None, None)
    other = await emitted_of(batch_of("a", "z", first=90), None, None)
    assert len({envelope.id for envelope in (*one, *other)}) == 4
    assert one == await emitted_of(batch_of("a", "b"), None, None)


@pytest.mark.parametrize("place", [-1, 2])
async def test_a_place_that_is_not_in_the_batch(place: int) -> None:
    with pytest.raises(ValueError, match=f"of={place} is no place in a batch of 2 messages"):
        await emitted_of(batch_of("a", "b"), place)


async def test_a_message_for_later_says_so(clock: ManualClock) -> None:
    emit = CollectingEmitter(clock, source_id="order-7", correlation_id="web:42")
    await emit("told", Told(number=1), after_s=90)
    await emit("told", Told(number=1))
    assert [one.not_before for one in emit.collected()] == [clock.now() + timedelta(seconds=90), None]
