"""Partitions that move while something is asked about them: what comes back too late changes nothing.

Each of these was found by the simulation (`tests/simulation`).
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from adapters.clock.manual import ManualClock
from contracts.message import Delivery, Envelope, Partition
from contracts.ports.partitions import Hold, Reported, Taken
from runtime.streams.partition import OwnedPartition
from runtime.streams.routes import Streams

pytestmark = pytest.mark.anyio


class Consumer:
    """Owns one partition until it is asked about."""

    def __init__(self) -> None:
        hold = Hold("orders", Partition("orders.raw", 0), 1)
        report = Reported(hold=hold, position=None, reach=0)
        self.owned: dict[str, Any] = {"assignment": SimpleNamespace(report=lambda **_: report, commit=self.commit)}
        self.losses: list[object] = []

    async def commit(self) -> None:
        return

    def lost(self, owned: object) -> None:
        self.losses.append(owned)

    def reported(self) -> None:
        return


async def test_a_partition_that_is_revoked_while_it_is_reported_is_not_lost_again(clock: ManualClock) -> None:
    consumer = Consumer()

    async def report(said: list[Reported]) -> list[bool]:
        consumer.owned.clear()
        return [False] * len(said)

    ledger: Any = SimpleNamespace(partitions=SimpleNamespace(report=report))
    streams = Streams(clock, lambda: ledger, log=SimpleNamespace(warn=print))
    streams.consumers.append(consumer)  # type: ignore[arg-type]
    await streams.commit()
    assert consumer.losses == []


async def test_a_partition_that_another_worker_has_taken_is_lost(clock: ManualClock) -> None:
    consumer = Consumer()
    ours = consumer.owned["assignment"]

    async def report(said: list[Reported]) -> list[bool]:
        return [False] * len(said)

    ledger: Any = SimpleNamespace(partitions=SimpleNamespace(report=report))
    streams = Streams(clock, lambda: ledger, log=SimpleNamespace(warn=print))
    streams.consumers.append(consumer)  # type: ignore[arg-type]
    await streams.commit()
    assert consumer.losses == [ours]


class Assignment:
    """What a partition needs of one."""

    partition = Partition("orders.raw", 0)
    lag = 0

    def pause(self, reason: str) -> None: ...

    def resume(self, reason: str) -> None: ...


def told(owned: OwnedPartition) -> None:
    """The ledger hears how far the partition is."""
    report = owned.report()
    assert report is not None
    owned.reported(report)


def test_what_was_handed_back_when_a_partition_was_taken_again_can_start() -> None:
    hold = Hold("orders", Assignment.partition, 1)
    owned = OwnedPartition(Assignment(), transactional=True)  # type: ignore[arg-type]
    owned.taken(Taken(hold=hold), (), durable=True)
    deliveries = [
        Delivery(Envelope(id=f"m{at}", address="orders.raw", body=b"{}"), Assignment.partition, at) for at in range(3)
    ]
    assert owned.begin(deliveries) == deliveries
    assert not owned.may_start(2)
    told(owned)
    assert owned.may_start(2)
    assert owned.taken_again(Taken(hold=hold), (), durable=True) == [0, 1, 2]
    assert owned.begin(deliveries[:2]) == deliveries[:2]
    assert not owned.may_start(1), "the ledger has to know first"
    told(owned)
    assert owned.may_start(1)
    assert owned.begin(deliveries[2:]) == deliveries[2:]
    owned.may_start(2)
    told(owned)
    assert owned.may_start(2)
