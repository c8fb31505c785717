"""A partition while it is ours: bounds on what is open, what is committed, and what the bus may do to it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from contracts.errors import LeaseLost
from contracts.message import Delivery, Envelope, Partition
from contracts.ports.partitions import Hold, Taken
from runtime.streams.partition import FULL, MAX_OPEN, MAX_OPEN_BYTES, SPACING, OwnedPartition

pytestmark = pytest.mark.anyio


class FakeAssignment:
    """Writes down what is asked of it; `lost` makes it refuse as a bus does whose partition has moved."""

    partition = Partition("orders.raw", 3)
    epoch = 1
    incarnation = "first"
    lag = 0

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


def begin(owned: OwnedPartition, *deliveries: Delivery) -> list[Delivery]:
    return owned.begin(deliveries)


def wants(owned: OwnedPartition) -> bool:
    return owned.wants_reach


@pytest.fixture
def assignment() -> FakeAssignment:
    return FakeAssignment()


@pytest.fixture
def owned(assignment: FakeAssignment) -> OwnedPartition:
    return OwnedPartition(assignment)


async def test_the_watermark_is_committed_once_it_moved(owned: OwnedPartition, assignment: FakeAssignment) -> None:
    for position in (100, 101, 102):
        assert begin(owned, delivery(position))
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
        begin(owned, delivery(position))
    await owned.release(delivery(0))
    assert assignment.released == [0]
    owned.finish(delivery(1))
    await owned.commit()
    assert assignment.committed == [], "it is not finished"
    assert begin(owned, delivery(0))
    owned.finish(delivery(0))
    await owned.commit()
    assert assignment.committed == [2]


async def test_what_a_bus_repeats_without_being_asked_is_taken_once(
    owned: OwnedPartition, assignment: FakeAssignment
) -> None:
    assert begin(owned, delivery(0))
    assert begin(owned, delivery(1))
    assert not begin(owned, delivery(0)), "it is still open"
    owned.finish(delivery(0))
    assert not begin(owned, delivery(0)), "it is finished"
    owned.finish(delivery(1))
    await owned.commit()
    assert assignment.committed == [2]


async def test_too_many_open_messages_pause_it_until_half_of_them_are_done(
    owned: OwnedPartition, assignment: FakeAssignment
) -> None:
    for position in range(MAX_OPEN - 1):
        begin(owned, delivery(position))
    assert assignment.reasons == set()
    begin(owned, delivery(MAX_OPEN - 1))
    assert assignment.reasons == {FULL}
    for position in range(MAX_OPEN // 2):
        owned.finish(delivery(position))
    assert assignment.reasons == {FULL}
    owned.finish(delivery(MAX_OPEN // 2))
    assert assignment.reasons == set()


async def test_too_many_open_bytes_pause_it(owned: OwnedPartition, assignment: FakeAssignment) -> None:
    quarter = MAX_OPEN_BYTES // 4
    for position in range(4):
        begin(owned, delivery(position, size_bytes=quarter))
    assert assignment.reasons == {FULL}
    for position in range(2):
        owned.finish(delivery(position, size_bytes=quarter))
    assert assignment.reasons == {FULL}, "half is not less than half"
    await owned.release(delivery(2, size_bytes=quarter))
    assert assignment.reasons == set(), "what was handed back weighs nothing"


async def test_a_partition_that_moved_is_let_go_of(owned: OwnedPartition, assignment: FakeAssignment) -> None:
    begin(owned, delivery(0))
    begin(owned, delivery(1))
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
    begin(owned, delivery(0))
    assignment.lost = True
    await owned.release(delivery(0))
    assert owned.over


HOLD = Hold("orders", FakeAssignment.partition, 7)


async def test_what_the_ledger_knows_to_be_finished_is_not_carried_again(assignment: FakeAssignment) -> None:
    owned = OwnedPartition(assignment, transactional=True)
    owned.taken(Taken(hold=HOLD, position=10, finished=((12, 14),)), (), durable=True)
    assert owned.start == 10
    fresh = begin(owned, *map(delivery, range(10, 16)))
    assert [one.position for one in fresh] == [10, 11, 14, 15]
    for one in fresh[:2]:
        owned.finish(one)
    report = owned.report()
    assert report is not None
    assert report.position == 14, "what was finished before counts"


async def test_a_bus_that_was_set_back_on_purpose_has_everything_done_again(assignment: FakeAssignment) -> None:
    owned = OwnedPartition(assignment, transactional=False)
    owned.taken(Taken(hold=HOLD, position=10, finished=((12, 14),)), (), durable=True)
    assert owned.start is None, "the bus says where to begin"
    assert [one.position for one in begin(owned, *map(delivery, range(5, 16)))] == list(range(5, 16))


async def test_nothing_starts_that_the_ledger_does_not_know_of(assignment: FakeAssignment) -> None:
    owned = OwnedPartition(assignment)
    owned.taken(Taken(hold=HOLD), (), durable=True)
    begin(owned, *map(delivery, range(5 * SPACING)))
    assert not owned.may_start(0)
    assert wants(owned)
    report = owned.report()
    assert report is not None
    assert report.reach == 2 * SPACING
    owned.reported(report)
    assert owned.may_start(0)
    assert not wants(owned)
    assert owned.may_start(SPACING), "it is asked for more ahead of time"
    assert wants(owned)
    assert not owned.may_start(2 * SPACING)


async def test_reaches_lead_to_the_end_of_what_came(assignment: FakeAssignment) -> None:
    owned = OwnedPartition(assignment)
    owned.taken(Taken(hold=HOLD), (), durable=True)
    begin(owned, *map(delivery, range(3 * SPACING + 5)))
    for position in range(3 * SPACING + 5):
        if not owned.may_start(position):
            report = owned.report()
            assert report is not None
            owned.reported(report)
            assert owned.may_start(position)


async def test_a_bus_that_dies_with_the_process_leaves_no_suspects(assignment: FakeAssignment) -> None:
    owned = OwnedPartition(assignment)
    owned.taken(Taken(hold=HOLD), (), durable=False)
    begin(owned, delivery(0))
    assert owned.may_start(0)


async def test_taken_again_it_has_everything_unfinished_once_more(assignment: FakeAssignment) -> None:
    owned = OwnedPartition(assignment, transactional=True)
    owned.taken(Taken(hold=HOLD, position=0), (), durable=True)
    first = begin(owned, *map(delivery, range(4)))
    owned.finish(first[0])
    owned.ending = True
    again = owned.taken_again(
        Taken(hold=Hold("orders", FakeAssignment.partition, 8), position=1, finished=((2, 3),)), (), durable=True
    )
    assert again == [1, 2, 3]
    assert begin(owned, delivery(4), delivery(1)) == [delivery(1)], "what is newer waits for what comes again"
    assert [one.position for one in begin(owned, delivery(2), delivery(3))] == [3, 4], "the commit of 2 took place"
    for position in (1, 3, 4):
        owned.finish(delivery(position))
    report = owned.report()
    assert report is not None
    assert (report.hold.epoch, report.position) == (8, 5)
