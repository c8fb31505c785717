"""What a job feeds: ids that derive from what each message comes of, and how much of it still waits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from adapters.clock.manual import ManualClock
from adapters.ledger.memory import MemoryLedger
from contracts.errors import Faults
from contracts.job import Claim, NewJob
from contracts.message import Contract, Envelope
from contracts.module import Module
from contracts.ports import Feed, Outgoing, Tx
from contracts.ports.ledger import Worker
from runtime import injection
from runtime.feed import JobFeed
from runtime.wiring import PROVIDED

pytestmark = pytest.mark.anyio


class Run(Contract, frozen=True):
    pass


async def claimed(ledger: MemoryLedger, job: str, address: str = "run.telling") -> Claim:
    await ledger.leases.join(Worker(id="w", host="h", pid=1), lease_s=60)
    await ledger.queue.record([NewJob(id=job, address=address, body=b"{}", correlation_id="of-the-job")])
    [claim] = await ledger.queue.claim("w", {address: 1})
    return claim


def outgoing(*sources: str, **more: Any) -> list[Outgoing]:
    return [Outgoing(source_id=source, body=source.encode(), **more) for source in sources]


async def fed(job: str, *messages: Outgoing, to: str = "out", by: str = "run.telling") -> list[Envelope]:
    clock = ManualClock()
    ledger = MemoryLedger(clock)
    feed = JobFeed(ledger.outbox, clock, await claimed(ledger, job, by))
    await feed.add(to, messages, tx=cast(Tx, None))
    return await sent(ledger, limit=1000)


async def sent(ledger: MemoryLedger, *, limit: int) -> list[Envelope]:
    found: list[Envelope] = []

    async def send(envelopes: Sequence[Envelope]) -> None:
        found.extend(envelopes)

    await ledger.outbox.relay(send, limit=limit)
    return found


async def test_the_same_source_is_the_same_message_whoever_feeds_it() -> None:
    ids = [one.id for one in await fed("j1", *outgoing("a", "b"))]
    assert len(set(ids)) == 2
    assert [one.id for one in await fed("j2", *outgoing("a", "b", key="k"))] == ids
    assert not set(ids) & {one.id for one in await fed("j1", *outgoing("a", "b"), to="elsewhere")}
    assert not set(ids) & {one.id for one in await fed("j1", *outgoing("a", "b"), by="run.other")}


async def test_a_message_is_as_it_was_given() -> None:
    [bare, whole] = await fed(
        "j",
        Outgoing(source_id="a", body=b"\xff"),
        Outgoing(
            source_id="b", body=b"", key="k", headers={"x": "y", "source-id": "old"}, correlation_id="c", priority=3
        ),
    )
    assert (bare.body, bare.key, bare.correlation_id, bare.headers) == (b"\xff", None, "of-the-job", {"source-id": "a"})
    assert (whole.key, whole.correlation_id, whole.priority) == ("k", "c", 3)
    assert whole.headers == {"x": "y", "source-id": "b"}


async def test_it_belongs_to_the_work_that_feeds_it() -> None:
    clock = ManualClock()
    ledger = MemoryLedger(clock)
    claim = await claimed(ledger, "j")
    feed = JobFeed(ledger.outbox, clock, claim, carried=lambda: {"traceparent": "of the job"})
    await feed.add("out", outgoing("a", headers={"x": "y", "traceparent": "of the source"}), tx=cast(Tx, None))
    [one] = await sent(ledger, limit=10)
    assert one.headers == {"x": "y", "traceparent": "of the job", "source-id": "a"}


async def test_what_waits_is_not_added_again_unless_it_has_a_place_of_its_own() -> None:
    assert len(await fed("j", *outgoing("a", "a"))) == 1
    twice = await fed("j", *outgoing("a", place="1"), *outgoing("a", place="2"), *outgoing("a", place="2"))
    assert [one.body for one in twice] == [b"a", b"a"]
    assert len({one.id for one in twice}) == 1


async def test_it_says_how_many_wait_at_most() -> None:
    clock = ManualClock()
    ledger = MemoryLedger(clock)
    feed = JobFeed(ledger.outbox, clock, await claimed(ledger, "j"))
    assert await feed.waiting() == 0
    for batch in range(3):
        await feed.add("out", outgoing(*(f"{batch}-{n}" for n in range(10))), tx=cast(Tx, None))
        assert await feed.waiting() == 10 * (batch + 1)
    for left in (30, 20, 20, 10, 10):
        assert len(await sent(ledger, limit=5)) == 5
        assert await feed.waiting() == left
    await sent(ledger, limit=5)
    assert await feed.waiting() == 0


async def test_what_others_add_is_not_waited_for_in_vain() -> None:
    clock = ManualClock()
    ledger = MemoryLedger(clock)
    feed = JobFeed(ledger.outbox, clock, await claimed(ledger, "j"))
    await feed.add("out", outgoing("a", "b"), tx=cast(Tx, None))
    assert await feed.waiting() == 2
    others = [Envelope(id=f"o{n}", address="other", body=b"", key=f"k{n}") for n in range(50)]
    await ledger.outbox.add(others, tx=None)
    while any(one.address == "out" for one in await sent(ledger, limit=1)) or await ledger.outbox.backlog() > 40:
        pass
    assert await feed.waiting() == 0


async def test_it_is_for_jobs() -> None:
    module = Module("telling", kind="service", summary="Tells.")

    @module.stream("told", Run)
    async def tell(run: Run, feed: Feed) -> None:
        """Tell."""

    with pytest.raises(Faults, match="asks for Feed, which only a job's handler has"):
        injection.check([module], PROVIDED)
