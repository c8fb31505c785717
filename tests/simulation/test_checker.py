"""The checker can fail: cores that are broken on purpose are found out, and soon."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest

from adapters.ledger.memory.books import Books, Job, Row
from adapters.ledger.memory.outbox import MemoryOutbox
from adapters.ledger.memory.partitions import MemoryPartitions
from adapters.ledger.spans import merged
from contracts.job import Claim, JobState
from contracts.message import Delivery
from contracts.ports.outbox import Send
from contracts.ports.partitions import Hold, Span
from runtime.jobs.strays import Strays
from runtime.policy.lanes import Lanes
from runtime.policy.watermark import Watermark
from runtime.streams.partition import OwnedPartition
from runtime.supervisor import Supervisor
from tests.simulation.schedule import run

MOST_SEEDS = 400


def found(*, first: int = 0) -> str:
    """What the first schedule says that fails."""
    return next((ended.violation for seed in range(first, first + MOST_SEEDS) if (ended := run(seed)).violation), "")


def test_a_watermark_that_is_one_too_far(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_far(mark: Watermark) -> int:
        return min(mark._open[0] + 1, mark._next) if mark._open else mark._next

    monkeypatch.setattr(Watermark, "value", property(too_far))
    assert "is finished, and" in found()


def test_a_ledger_that_lets_any_epoch_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    def may_settle(partitions: MemoryPartitions, hold: Hold, _spans: Sequence[Span]) -> Row:
        return partitions._books.partitions[hold.group, hold.partition]

    def settle(partitions: MemoryPartitions, hold: Hold, spans: Sequence[Span]) -> Row:
        row = may_settle(partitions, hold, spans)
        row.finished = merged([*row.finished, *spans])
        return row

    monkeypatch.setattr(MemoryPartitions, "may_settle", may_settle)
    monkeypatch.setattr(MemoryPartitions, "settle", settle)
    assert "applied twice" in found()


def test_lanes_that_forget_their_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    offer = Lanes.offer

    def forgetful(lanes: Lanes[Any, Any], source: Any, _key: str | None, item: Any) -> None:
        offer(lanes, source, None, item)

    monkeypatch.setattr(Lanes, "offer", forgetful)
    monkeypatch.setattr(Lanes, "done", lambda lanes, _key: setattr(lanes, "running", lanes.running - 1))
    assert "out of order" in found()


def test_a_release_that_acknowledges(monkeypatch: pytest.MonkeyPatch) -> None:
    async def release(owned: OwnedPartition, delivery: Delivery) -> None:
        owned.finish(delivery)

    monkeypatch.setattr(OwnedPartition, "release", release)
    assert "is finished, and" in found()


def test_a_job_that_any_run_may_write(monkeypatch: pytest.MonkeyPatch) -> None:
    def held(books: Books, claim: Claim) -> Job | None:
        return books.jobs.get(claim.id)

    monkeypatch.setattr(Books, "held", held)
    assert re.search("run.steps|another one ran", found()), "its effects are there twice, or beside those of its key"


def test_a_drain_without_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    finish = Supervisor._finish

    async def unhurried(supervisor: Supervisor, work: Any, began_at: float, _deadline: float) -> None:
        await supervisor._clock.sleep(60.0)
        await finish(supervisor, work, began_at, began_at)

    monkeypatch.setattr(Supervisor, "_finish", unhurried)
    assert "to drain" in found()


def test_claims_that_nobody_has_heard_of(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(_strays: Strays, _worker_id: str) -> None: ...

    monkeypatch.setattr(Strays, "_look", never)
    assert "is running" in found(first=25)


def test_jobs_that_forget_their_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Books, "free_of_rivals", lambda _books, _job: True)
    assert "another one ran" in found()


def test_a_cancellation_that_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    end = Job.end

    def careless(job: Job, state: JobState, now: datetime) -> None:
        asked, job.cancel_requested_at = job.cancel_requested_at, None
        end(job, state, now)
        job.cancel_requested_at = asked

    monkeypatch.setattr(Job, "end", careless)
    assert "claimed again after its cancellation" in found()


def test_an_outbox_that_sends_the_last_first(monkeypatch: pytest.MonkeyPatch) -> None:
    relay = MemoryOutbox.relay

    async def backwards(outbox: MemoryOutbox, send: Send, *, limit: int) -> int:
        return await relay(outbox, lambda envelopes: send(envelopes[::-1]), limit=limit)

    monkeypatch.setattr(MemoryOutbox, "relay", backwards)
    assert "sent out of order" in found()
