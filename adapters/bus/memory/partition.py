"""One partition's messages, and one group's place in them: plain state, no waiting, no clock."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush

from adapters.bus.memory.past import Past
from contracts.errors import Conflict
from contracts.message import Delivery, Envelope, Partition


class Records:
    """What is retained of one partition. Positions start at 0 and go up by one; a message is never changed."""

    def __init__(self, partition: Partition, past: Past | None = None, *, start: int = 0) -> None:
        self.partition = partition
        self.past = past or Past(most=0, most_bytes=0)
        """What was retained before."""
        self.start = start
        """Position of the oldest message that is retained."""
        self._kept: list[Delivery] = []  # ready to be handed over: a first fetch is a slice
        self._ends: list[int] = []  # bytes up to and with each message since the beginning: sizes by difference
        self._dropped_bytes = 0

    @property
    def end(self) -> int:
        """The position that the next message gets."""
        return self.start + len(self._kept)

    def append(self, envelope: Envelope, size_bytes: int) -> None:
        self._kept.append(Delivery(envelope, self.partition, self.start + len(self._kept)))
        self._ends.append((self._ends[-1] if self._ends else self._dropped_bytes) + size_bytes)

    def at(self, position: int) -> Delivery:
        return self._kept[position - self.start]

    def size_bytes(self, position: int) -> int:
        index = position - self.start
        return self._ends[index] - (self._ends[index - 1] if index else self._dropped_bytes)

    def take(self, position: int, max_rows: int, max_bytes: int) -> list[Delivery]:
        """From `position` on, at most so many rows and bytes; one message is handed over whatever its size."""
        first = position - self.start
        before = self._ends[first - 1] if first else self._dropped_bytes
        fitting = bisect_right(self._ends, before + max_bytes, first, min(first + max_rows, len(self._ends)))
        return self._kept[first : max(fitting, first + 1)]

    def pieces(self) -> list[Sequence[Delivery]]:
        """All that there is, finished or not, in order of position."""
        return [*self.past.pieces, self._kept] if self._kept else list(self.past.pieces)

    def drop_below(self, position: int) -> tuple[int, int]:
        """Forget what is below `position`; returns how many messages and bytes that was."""
        count = position - self.start
        if count <= 0:
            return 0, 0
        dropped_bytes = self._ends[count - 1] - self._dropped_bytes
        self.past.add(self._kept[:count], dropped_bytes)
        self._dropped_bytes = self._ends[count - 1]
        del self._kept[:count], self._ends[:count]
        self.start = position
        return count, dropped_bytes


class Cursor:
    """One group's place in one partition: what is committed, what is out, what comes again.

    Two ways of finishing meet here: a watermark (`commit`) and single messages in any order (`finish`). `committed`
    never goes back. What was out when the cursor is rewound, and what was handed back, comes again with its number
    of deliveries counted up.
    """

    def __init__(self, records: Records) -> None:
        self.records = records
        self.committed = records.start
        self.next = records.start
        """The first position that has not been handed out since the last rewind."""
        self._floor = records.start  # below it nothing is out; below `committed` after a seek back
        self._reached = records.start  # the first that was never handed out at all
        self._again: list[int] = []  # a heap of what was handed back; always below `next`
        self._back: set[int] = set()  # the same as a set, and what is held
        self._held: set[int] = set()
        self._finished: set[int] = set()  # above `committed`
        self._deliveries: dict[int, int] = {}  # of what was handed out more than once

    @property
    def ready(self) -> bool:
        return self.next < self.records.end or bool(self._again)

    @property
    def lag(self) -> int:
        """How many messages this group still has to commit."""
        return self.records.end - self.committed

    @property
    def needed_from(self) -> int:
        """Below it this group wants nothing any more."""
        return min(self._floor, self.committed)

    def take(self, max_rows: int, max_bytes: int) -> list[Delivery]:
        """What comes next, in order of position."""
        if not self._again and self.next >= self._reached:
            if self.next >= self.records.end:
                return []
            taken = self.records.take(self.next, max_rows, max_bytes)
            self.next = self._reached = self.next + len(taken)
            return taken
        return self._take_again(max_rows, max_bytes)

    def commit(self, position: int) -> None:
        """Everything below `position` is finished. Going back is a no-op; going ahead of the fetch skips.

        Raises `Conflict` for a position beyond the end of the partition.
        """
        if position <= self.needed_from:
            return
        if position > self.records.end:
            raise Conflict(
                f"position {position} cannot be committed: {self.records.partition.address} partition "
                f"{self.records.partition.index} ends at {self.records.end}; commit what was fetched"
            )
        self._forget(range(self.needed_from, position))
        self._floor = max(self._floor, position)
        self.committed = max(self.committed, position)
        self._pass_finished()

    def finish(self, position: int) -> None:
        """This one is finished, whatever is below it. Idempotent."""
        if position < self.committed or position >= self.next:
            return
        self._forget((position,))
        self._finished.add(position)
        self._pass_finished()

    def hand_back(self, positions: Iterable[int]) -> None:
        """These come again at once. What is finished, or was not out, is left as it is."""
        for position in positions:
            if self._is_out(position) or position in self._held:
                self._held.discard(position)
                self._back.add(position)
                heappush(self._again, position)

    def untake(self, position: int) -> None:
        """It was taken and nobody saw it: it comes again as if it had not been."""
        if self._is_out(position):
            self._deliveries[position] = self._deliveries.get(position, 1) - 1
            self.hand_back((position,))

    def hold(self, position: int) -> bool:
        """Keep it back until `hand_back`; says whether it was out."""
        if not self._is_out(position):
            return False
        self._held.add(position)
        self._back.add(position)
        return True

    def is_held(self, position: int) -> bool:
        return position in self._held

    def rewind(self) -> None:
        """All that is not finished comes again: its owner is gone."""
        self._go_to(self.committed)

    def seek(self, position: int) -> None:
        """Hand out from `position` on, until the next rewind; what is committed stays so. What is not retained any more
        is passed over. Raises `Conflict` for a position beyond the end of the partition."""
        if position > self.records.end:
            raise Conflict(
                f"position {position} cannot be fetched from: {self.records.partition.address} partition "
                f"{self.records.partition.index} ends at {self.records.end}; the position is of another making of it"
            )
        self._go_to(max(position, self.records.start))

    def _go_to(self, position: int) -> None:
        self._floor = self.next = position
        self._again.clear()
        self._back.clear()
        self._held.clear()

    def _take_again(self, max_rows: int, max_bytes: int) -> list[Delivery]:
        taken: list[Delivery] = []
        used_bytes = 0
        while len(taken) < max_rows and self.ready:
            position = self._again[0] if self._again else self.next
            if position in self._finished:
                self.next += 1
                continue
            used_bytes += self.records.size_bytes(position)
            if taken and used_bytes > max_bytes:
                break
            if self._again:
                heappop(self._again)
                self._back.discard(position)
            else:
                self.next += 1
            taken.append(self._counted(position))
        return taken

    def _counted(self, position: int) -> Delivery:
        first = self.records.at(position)
        if position >= self._reached:
            self._reached = position + 1
            return first
        deliveries = self._deliveries[position] = self._deliveries.get(position, 1) + 1
        return Delivery(first.envelope, first.partition, position, deliveries)

    def _is_out(self, position: int) -> bool:
        return self._floor <= position < self.next and position not in self._back and position not in self._finished

    def _pass_finished(self) -> None:
        behind = self._floor < self.committed  # it was sought back: what is committed comes again nevertheless
        while self.committed in self._finished:
            self._finished.discard(self.committed)
            self.committed += 1
        if not behind:
            self._floor = max(self._floor, self.committed)
        self.next = max(self.next, self._floor)
        self._reached = max(self._reached, self.committed)

    def _forget(self, positions: range | tuple[int]) -> None:
        for known in (self._deliveries, self._finished, self._held):
            if known:
                _discard(known, positions)
        if self._back:
            _discard(self._back, positions)
            waiting = [position for position in self._again if position in self._back]
            if len(waiting) != len(self._again):
                heapify(waiting)
                self._again = waiting


def _discard(known: dict[int, int] | set[int], positions: range | tuple[int]) -> None:
    gone = [p for p in known if p in positions] if len(known) < len(positions) else positions
    for position in gone:
        if isinstance(known, dict):
            known.pop(position, None)
        else:
            known.discard(position)
