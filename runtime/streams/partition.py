"""One partition while it is ours: what is open on it, how much that weighs, and what may be committed."""

from __future__ import annotations

from contracts.errors import LeaseLost
from contracts.message import Delivery
from contracts.ports import Assignment
from runtime.policy.watermark import Watermark

MAX_OPEN = 10_000
MAX_OPEN_BYTES = 32 << 20
FULL = "its lanes are full"


class OwnedPartition:
    """Pauses its assignment while more is open than the bounds allow, and resumes it at half of them."""

    def __init__(self, assignment: Assignment) -> None:
        self.assignment = assignment
        self.ending = False
        """It is being revoked: nothing more of it is started."""
        self.over = False
        """It is gone: nothing more of it is committed or released."""
        self._mark = Watermark()
        self._reached = 0
        self._handed_back: set[int] = set()
        self._committed = 0
        self._open = 0
        self._open_bytes = 0
        self._full = False

    def begin(self, delivery: Delivery) -> bool:
        """False: it is open or finished already, and the bus repeats itself."""
        position = delivery.position
        if position >= self._reached:
            self._mark.begin(position)
            self._reached = position + 1
        elif position in self._handed_back:
            self._handed_back.discard(position)
        else:
            return False
        self._open += 1
        self._open_bytes += len(delivery.envelope.body)
        if not self._full and (self._open >= MAX_OPEN or self._open_bytes >= MAX_OPEN_BYTES):
            self._full = True
            self.assignment.pause(FULL)
        return True

    def finish(self, delivery: Delivery) -> None:
        """Done with for good: it may be committed."""
        self._mark.finish(delivery.position)
        self._lighten(delivery)

    async def release(self, delivery: Delivery) -> None:
        """Not done with: whoever owns the partition next gets it again."""
        self._handed_back.add(delivery.position)
        self._lighten(delivery)
        if not self.over:
            try:
                await self.assignment.release([delivery.position])
            except LeaseLost:
                self.over = True

    async def commit(self) -> None:
        """Commit the watermark when it moved; a partition that was lost meanwhile is not ours to commit."""
        value = self._mark.value
        if self.over or value == self._committed:
            return
        try:
            await self.assignment.commit(value)
            self._committed = value
        except LeaseLost:
            self.over = True

    def _lighten(self, delivery: Delivery) -> None:
        self._open -= 1
        self._open_bytes -= len(delivery.envelope.body)
        if self._full and self._open < MAX_OPEN // 2 and self._open_bytes < MAX_OPEN_BYTES // 2:
            self._full = False
            self.assignment.resume(FULL)
