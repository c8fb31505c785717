"""The pure state of the memory bus against the simplest model of it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from adapters.bus.memory.partition import Cursor, Records
from adapters.bus.spread import spread
from contracts.errors import Conflict
from contracts.message import Envelope, Partition

PARTITION = Partition("orders", 0)


def envelope(number: int) -> Envelope:
    return Envelope(id=str(number), address="orders", body=b"")


class CursorAgainstSets(RuleBasedStateMachine):
    """A model with a set for each state that a message can be in; whatever is in none of them can be delivered."""

    def __init__(self) -> None:
        super().__init__()
        self.records = Records(PARTITION)
        self.cursor = Cursor(self.records)
        self.sizes: list[int] = []
        self.out: set[int] = set()
        self.held: set[int] = set()
        self.finished: set[int] = set()
        self.deliveries: dict[int, int] = {}
        self.skipped: set[int] = set()  # by a seek ahead, until the next rewind
        self.redone: set[int] = set()  # finished, and to be handed out again after a seek back
        self.uncounted: set[int] = set()  # a seek passed them: how often they were delivered is not known exactly
        self.committed_before = 0
        self.kept_bytes = 0

    @property
    def deliverable(self) -> list[int]:
        away = self.out | self.held | self.skipped | (self.finished - self.redone)
        return [p for p in range(self.records.start, len(self.sizes)) if p not in away]

    @property
    def needed_from(self) -> int:
        """The first that may still have to be handed out, to this owner or to the next."""
        redone = self.redone | {p for p in self.out | self.held if p < self.cursor.committed}
        return min({self.cursor.committed, *redone})

    @rule(sizes=st.lists(st.integers(1, 100), min_size=1, max_size=8))
    def append(self, sizes: list[int]) -> None:
        for size in sizes:
            self.records.append(envelope(len(self.sizes)), size)
            self.sizes.append(size)
            self.kept_bytes += size

    @rule(rows=st.integers(1, 5), size=st.integers(1, 250))
    def take(self, rows: int, size: int) -> None:
        expected: list[int] = []
        used = 0
        for position in self.deliverable[:rows]:
            used += self.sizes[position]
            if expected and used > size:
                break
            expected.append(position)
        taken = self.cursor.take(rows, size)
        assert [delivery.position for delivery in taken] == expected
        for delivery in taken:
            position = delivery.position
            self.deliveries[position] = self.deliveries.get(position, 0) + 1
            assert delivery.deliveries == self.deliveries[position] or position in self.uncounted
            assert delivery.envelope.id == str(position)
            assert delivery.partition is PARTITION
        self.out |= set(expected)
        self.redone -= set(expected)

    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        position = data.draw(st.integers(0, len(self.sizes)))
        self.cursor.commit(position)
        done = set(range(position))
        self.finished |= done
        self.redone -= done
        self.out -= done
        self.held -= done

    @rule()
    def commit_beyond_the_end(self) -> None:
        with pytest.raises(Conflict, match="ends at"):
            self.cursor.commit(len(self.sizes) + 1)

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        position = data.draw(st.sampled_from(sorted(self.out | self.held)))
        again = position < self.cursor.committed
        self.cursor.finish(position)
        self.finished.add(position)
        if not again:  # it was finished long ago: only a commit takes it away once more
            self.out.discard(position)
            self.held.discard(position)

    @rule()
    def finish_what_was_never_out(self) -> None:
        self.cursor.finish(max(self.out | self.held | self.finished | {self.cursor.next - 1}) + 1)

    @rule(data=st.data())
    def hand_back(self, data: st.DataObject) -> None:
        positions = data.draw(st.lists(st.integers(0, len(self.sizes)), max_size=6))
        self.cursor.hand_back(positions)
        self.redone |= self.finished & set(positions) & (self.out | self.held)
        self.out -= set(positions)
        self.held -= set(positions)

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def untake(self, data: st.DataObject) -> None:
        position = data.draw(st.sampled_from(sorted(self.out)))
        self.cursor.untake(position)
        self.out.discard(position)
        self.redone |= self.finished & {position}
        self.deliveries[position] -= 1

    @rule(data=st.data())
    def hold(self, data: st.DataObject) -> None:
        position = data.draw(st.integers(0, len(self.sizes)))
        assert self.cursor.hold(position) == (position in self.out)
        if position in self.out:
            self.out.discard(position)
            self.held.add(position)

    @rule()
    def rewind(self) -> None:
        self.cursor.rewind()
        for known in (self.out, self.held, self.skipped, self.redone):
            known.clear()

    @rule(data=st.data())
    def seek(self, data: st.DataObject) -> None:
        position = data.draw(st.integers(0, len(self.sizes)))
        self.rewind()
        self.cursor.seek(position)
        self.skipped = set(range(position))
        self.redone = set(range(max(position, self.records.start), self.cursor.committed))
        self.uncounted |= self.skipped | self.redone

    @rule()
    def seek_beyond_the_end(self) -> None:
        with pytest.raises(Conflict, match="ends at"):
            self.cursor.seek(len(self.sizes) + 1)

    @rule()
    def drop(self) -> None:
        start, kept_from = self.records.start, self.cursor.needed_from
        assert kept_from <= self.needed_from
        count, freed = self.records.drop_below(kept_from)
        assert count == kept_from - start
        assert freed == sum(self.sizes[start:kept_from])
        self.kept_bytes -= freed
        if not self.records.end - self.records.start:
            assert not self.kept_bytes

    @invariant()
    def nothing_is_lost(self) -> None:
        assert self.records.end == len(self.sizes)
        assert self.cursor.lag == len(self.sizes) - self.cursor.committed
        if self.deliverable:
            assert self.cursor.ready

    @invariant()
    def committed_is_what_is_finished_below_the_first_gap_and_never_goes_back(self) -> None:
        gap = next((p for p in range(len(self.sizes)) if p not in self.finished), len(self.sizes))
        assert self.cursor.committed == gap
        assert self.cursor.committed >= self.committed_before
        assert self.records.start <= self.cursor.committed
        self.committed_before = self.cursor.committed

    def teardown(self) -> None:
        self.rewind()
        rest = [delivery.position for delivery in self.cursor.take(10_000, 10_000_000)]
        assert rest == [position for position in range(len(self.sizes)) if position not in self.finished]


CursorAgainstSets.TestCase.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
TestCursor = CursorAgainstSets.TestCase


def test_what_is_finished_takes_no_room_in_a_fetch() -> None:
    records = Records(PARTITION)
    for number in range(3):
        records.append(envelope(number), 1)
    cursor = Cursor(records)
    cursor.take(2, 2)
    cursor.finish(1)
    cursor.rewind()
    assert [delivery.position for delivery in cursor.take(2, 2)] == [0, 2]


@given(
    count=st.integers(0, 24),
    owners=st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8),
    data=st.data(),
)
def test_partitions_are_spread_evenly_and_move_little(count: int, owners: list[str], data: st.DataObject) -> None:
    held = data.draw(st.dictionaries(st.integers(0, max(count - 1, 0)), st.sampled_from("abcdefgh"), max_size=count))
    held = {index: owner for index, owner in held.items() if index < count}
    target = spread(count, owners, held)
    if not owners:
        assert not target
        return
    assert set(target) == set(range(count)), "a partition without an owner"
    shares = [sum(owner == other for other in target.values()) for owner in owners]
    assert max(shares) - min(shares) <= 1
    kept = sum(target[index] == owner for index, owner in held.items())
    have = sorted((sum(owner == other for other in held.values()) for owner in owners), reverse=True)
    share, larger = divmod(count, len(owners))
    possible = sum(min(has, share + (rank < larger)) for rank, has in enumerate(have))
    assert kept == possible, "more moved than had to"
    assert spread(count, owners, target) == target, "it doesn't come to rest"
