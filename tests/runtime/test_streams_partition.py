"""A partition while it is ours: bounds on what is open, what is committed, and what the bus may do to it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from contracts.errors import LeaseLost
from contracts.message import Delivery, Envelope, Partition
from runtime.streams.partition import FULL, MAX_OPEN, MAX_OPEN_BYTES, OwnedPartition

pytestmark = pytest.mark.anyio


class FakeAssignment:
    """Writes down what is asked of it; `lost` makes it refuse as a bus does whose partition has moved."""

    partition = Partition("orders.raw", 3)
    epoch = 1

    def __init__(self) -> None:
        self.reasons: set[str] = set()
        self.committed: list[int] = []
        self.released: list[int] = []
        self.lost = False

    def pause(self, reason: str) -> None:
        self.reasons.add(reason)

    def resume(self, reason: str) -> None:
        self.reasons.discard(reason)

    async def commit(self, position: int) -> None:
        if self.lost:
            raise LeaseLost("moved")
        self.committed.append(position)

    async def release(self, positions: Sequence[int]) -> None:
        if self.lost:
            raise LeaseLost("moved")
        self.released.extend(positions)


def delivery(position: int, *, size_bytes: int = 10) -> Delivery:
    envelope = Envelope(id=f"m{position}", address="orders.raw", body=b"x" * size_bytes)
    return Delivery(envelope, FakeAssignment.partition, position)


@pytest.fixture
def assignment() -> FakeAssignment:
    return FakeAssignment()


@pytest.fixture
def owned(assignment: FakeAssignment) -> OwnedPartition:
    return OwnedPartition(assignment)


async def test_the_watermark_is_committed_once_it_moved(owned: OwnedPartition, assignment: FakeAssignment) -> None:
    for position in (100, 101, 102):
        assert owned.begin(delivery(position))
    await owned.commit()
    assert assignment.committed == [100], "all below the first one that was fetched"
    owned.finish(delivery(101))
    await owned.commit()
    assert assignment.committed == [100]
    owned.finish(delivery(100))
    await owned.commit()
    await owned.commit()
    assert assignment.committed == [100, 102]


async def test_what_was_handed_back_may_come_again(owned: OwnedPartition, assignment: FakeAssignment) -> None:
    for position in (0, 1):
        owned.begin(delivery(position))
    await owned.release(delivery(0))
    assert assignment.released == [0]
    owned.finish(delivery(1))
    await owned.commit()
    assert assignment.committed == [], "it is not finished"
    assert owned.begin(delivery(0))
    owned.finish(delivery(0))
    await owned.commit()
    assert assignment.committed == [2]


async def test_what_a_bus_repeats_without_being_asked_is_taken_once(
    owned: OwnedPartition, assignment: FakeAssignment
) -> None:
    assert owned.begin(delivery(0))
    assert owned.begin(delivery(1))
    assert not owned.begin(delivery(0)), "it is still open"
    owned.finish(delivery(0))
    assert not owned.begin(delivery(0)), "it is finished"
    owned.finish(delivery(1))
    await owned.commit()
    assert assignment.committed == [2]


async def test_too_many_open_messages_pause_it_until_half_of_them_are_done(
    owned: OwnedPartition, assignment: FakeAssignment
) -> None:
    for position in range(MAX_OPEN - 1):
        owned.begin(delivery(position))
    assert assignment.reasons == set()
    owned.begin(delivery(MAX_OPEN - 1))
    assert assignment.reasons == {FULL}
    for position in range(MAX_OPEN // 2):
        owned.finish(delivery(position))
    assert assignment.reasons == {FULL}
    owned.finish(delivery(MAX_OPEN // 2))
    assert assignment.reasons == set()


async def test_too_many_open_bytes_pause_it(owned: OwnedPartition, assignment: FakeAssignment) -> None:
    quarter = MAX_OPEN_BYTES // 4
    for position in range(4):
        owned.begin(delivery(position, size_bytes=quarter))
    assert assignment.reasons == {FULL}
    for position in range(2):
        owned.finish(delivery(position, size_bytes=quarter))
    assert assignment.reasons == {FULL}, "half is not less than half"
    await owned.release(delivery(2, size_bytes=quarter))
    assert assignment.reasons == set(), "what was handed back weighs nothing"


async def test_a_partition_that_moved_is_let_go_of(owned: OwnedPartition, assignment: FakeAssignment) -> None:
    owned.begin(delivery(0))
    owned.begin(delivery(1))
    owned.finish(delivery(0))
    assignment.lost = True
    await owned.commit()
    assert owned.over
    assignment.lost = False
    owned.finish(delivery(1))
    await owned.commit()
    await owned.release(delivery(1))
    assert (assignment.committed, assignment.released) == ([], []), "it is another's now"


async def test_one_that_moved_while_something_is_handed_back_is_let_go_of(
    owned: OwnedPartition, assignment: FakeAssignment
) -> None:
    owned.begin(delivery(0))
    assignment.lost = True
    await owned.release(delivery(0))
    assert owned.over
