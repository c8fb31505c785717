"""One partition while it is ours: what is open on it, how much that weighs, what may start, and what is finished."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from contracts.errors import LeaseLost
from contracts.message import Delivery
from contracts.ports import Assignment
from contracts.ports.partitions import Hold, Reported, Span, Taken
from runtime.policy.spans import Spans, spans_of
from runtime.policy.watermark import Watermark

MAX_OPEN = 10_000
MAX_OPEN_BYTES = 32 << 20
FULL = "its lanes are full"
SPACING = 128
"""The ledger is told of the reach in steps of so many messages: what was started in one step, and in the next, are
the suspects if this process dies."""


class OwnedPartition:
    """Pauses its assignment while more is open than the bounds allow, and resumes it at half of them."""

    def __init__(self, assignment: Assignment, *, transactional: bool = False) -> None:
        self.assignment = assignment
        self.transactional = transactional
        self.hold: Hold | None = None
        self.generation = 0
        """Goes up when it is taken again: what was fetched before is not carried any more."""
        self.ending = False
        """It is being revoked, or was lost: nothing more of it is started."""
        self.over = False
        """It is gone: nothing more of it is committed or released."""
        self.parked: set[str] = set()
        """Lanes in which something waits in the ledger."""
        self.parking = asyncio.Lock()
        self.memory: Any = None
        """What its handler remembers, as of the last commit: `BatchState` looks after it."""
        self.turn = asyncio.Lock()
        """Whose turn it is with that."""
        self.blocked = False
        """Something of it waits for someone to do something."""
        self.quiet_since: float | None = None
        self.ticking = False
        self.wants_reach = False
        """Something could be started if the ledger knew of it."""
        self.suspects_below = 0
        self._began = False
        self._mark = Watermark()
        self._skip = Spans()
        self._stored: int | None = None
        self._reached = 0
        self._handed_back: set[int] = set()
        self._awaited: set[int] = set()
        """What must come again before anything newer is carried, or its keys would lose their order."""
        self._early: list[Delivery] = []
        self._committed = 0
        self._told: Reported | None = None
        self._reach: int | None = None
        self._ask_at = 0
        self._wanted = 0
        self._steps: deque[int] = deque()
        self._since_step = 0
        self._open = 0
        self._open_bytes = 0
        self._full = False

    # What the ledger knows of it.

    def taken(self, taken: Taken, parked: Iterable[str], *, durable: bool) -> None:
        """It is ours by the ledger too. Where the bus outlives us, nothing starts that the ledger doesn't know of."""
        self.hold = taken.hold
        self.memory = None
        self.ticking = False
        self.parked = set(parked)
        self.suspects_below = taken.suspects_below or 0
        self._skip = Spans(taken.finished)
        self._stored = taken.position
        self._told = None
        if durable:
            self._reach = self._ask_at = 0
        if taken.position is not None and self.transactional and not self._began:
            self._mark = Watermark(taken.position)
            self._reached = max(self._reached, taken.position)
            self._began = True

    def taken_again(self, taken: Taken, parked: Iterable[str], *, durable: bool) -> list[int]:
        """After it was lost: all that is unfinished, to be handed back to the bus, so that it comes again."""
        unfinished = list(self._mark.unfinished_positions)
        self.generation += 1
        self._handed_back.update(unfinished)
        self._awaited = set(unfinished)
        self._open = self._open_bytes = 0
        self._steps.clear()
        self.taken(taken, parked, durable=durable)
        self.ending = False
        self._resume_when_light()
        return unfinished

    def taken_late(self, taken: Taken, parked: Iterable[str]) -> None:
        """The ledger was down when the partition was assigned, and messages are on their way by now."""
        self.hold = taken.hold
        self.parked = set(parked)
        self._told = None

    @property
    def start(self) -> int | None:
        """Where to fetch from; None: where the bus says."""
        return self._stored if self.transactional and self.hold else None

    def report(self, *, anyway: bool = False) -> Reported | None:
        """What the ledger is to be told; None while there is nothing new."""
        if self.hold is None or self.ending:
            return None
        position = self._mark.value if self.transactional and self._began else None
        told = self._told
        reach = self._next_reach()
        if told and not anyway and (told.position, told.reach) == (position, reach):
            return None
        return Reported(
            hold=self.hold,
            position=position,
            reach=reach,
            lag=self.assignment.lag,
            open=self._mark.unfinished,
            needless_below=None if self.transactional or self._committed <= 0 else self._committed,
        )

    def reported(self, report: Reported) -> None:
        """The ledger knows it now."""
        self._told = report
        self.wants_reach = False
        if self._reach is not None:
            self._ask_at = self._reach
            while self._steps and self._steps[0] <= report.reach:
                step = self._steps.popleft()
                self._ask_at = step if step < report.reach else self._ask_at
            self._reach = report.reach

    def ticks(self, now: float, every_s: float) -> bool:
        """Whether nothing has been on its way for so long; asked now and then, at monotonic `now`."""
        if self.hold is None or self.ending or self.ticking:
            return False
        if self._open or self.quiet_since is None:
            self.quiet_since = now
        if now - self.quiet_since < every_s:
            return False
        self.quiet_since = now
        return True

    @property
    def open_bytes(self) -> int:
        """Of what is on its way."""
        return self._open_bytes

    @property
    def backlog(self) -> int:
        """How much there is to do. The bus counts what is in flight as not committed, but may not have counted the
        newest yet."""
        return max(self.assignment.lag, self._open)

    def go_on_unreported(self) -> None:
        """The ledger is down, and the route doesn't need it: nothing waits for the ledger to know of it."""
        if not self.transactional and self._reach is not None:
            self._reach = max(self._reach, self._reached)

    def _next_reach(self) -> int:
        """One step beyond what is to be started, or as far as messages came."""
        if self._reach is None:
            return 0
        if not self.wants_reach or not self._steps:
            return self._reach
        behind = next((at for at, step in enumerate(self._steps) if step > self._wanted), len(self._steps) - 1)
        return self._steps[min(behind + 1, len(self._steps) - 1)]

    # Messages.

    def begin(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Those that are to be carried: not what is open or finished already, when the bus repeats itself."""
        if self._awaited:
            deliveries = self._in_turn(deliveries)
        if deliveries and not self._began:
            self._first(deliveries[0].position)
        if deliveries and self._all_new_from(deliveries[0].position):
            fresh = list(deliveries)
            self._begin_all(fresh)
        else:
            fresh = [delivery for delivery in deliveries if self._begin(delivery)]
        if self._reach is not None and fresh:
            covered = self._steps[-1] if self._steps else self._reach
            if fresh[-1].position >= covered:  # what comes again may lie beyond what the ledger knows of, too
                self._step(fresh[-1].position)
        if not self._full and self._is_heavy():
            self._full = True
            self.assignment.pause(FULL)
        return fresh

    def _in_turn(self, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        """What was awaited, and after the last of that whatever came too early."""
        due = [delivery for delivery in deliveries if delivery.position in self._awaited]
        self._early += [delivery for delivery in deliveries if delivery.position not in self._awaited]
        self._awaited.difference_update(delivery.position for delivery in due)
        if not self._awaited:
            due += sorted(self._early, key=lambda delivery: delivery.position)
            self._early = []
        return due

    def may_start(self, position: int) -> bool:
        """False: the ledger has to know first how far we are, and `wants_reach`."""
        if self._reach is None:
            return True
        self._wanted = max(self._wanted, position)
        if position >= self._ask_at and self._steps:
            self.wants_reach = True  # ahead of time, so that nothing waits for it
        return position < self._reach

    def nothing_finished_from(self, position: int) -> bool:
        """Of what the ledger knew when the partition was taken."""
        return position >= self._skip.end

    def finish(self, *deliveries: Delivery) -> None:
        """Done with for good: they may be committed."""
        self._mark.finish_all([delivery.position for delivery in deliveries])
        self._lighten(deliveries)

    async def release(self, delivery: Delivery) -> None:
        """Not done with: whoever owns the partition next gets it again."""
        self._handed_back.add(delivery.position)
        self._lighten([delivery])
        if not self.over:
            try:
                await self.assignment.release([delivery.position])
            except LeaseLost:
                self.over = True

    async def commit(self) -> None:
        """Commit the watermark when it moved; a partition that was lost meanwhile is not ours to commit."""
        if self.over or not self._began or self._mark.value == self._committed:
            return
        await self.confirm()

    async def confirm(self) -> None:
        """Commit the watermark whether it moved or not: `over` tells whether the partition is still ours."""
        value = self._mark.value
        try:
            await self.assignment.commit(value)
            self._committed = value
        except LeaseLost:
            self.over = True

    @property
    def left_at(self) -> tuple[int | None, tuple[Span, ...]]:
        """The watermark, where it is not the bus's alone, and what is finished above it: what the next owner needs not
        to do it again."""
        position = self._mark.value if self._began and self.transactional else None
        return position, spans_of(self._mark.finished_above)

    @property
    def suspects_left(self) -> bool:
        """Some of those that may have killed the last owner were not tried here: that is no clean end, after which the
        next owner would run them in company, and uncharged."""
        return self._mark.value < self.suspects_below

    def _all_new_from(self, position: int) -> bool:
        """Whether nothing at or above it was seen, here or by an owner before."""
        return position >= self._reached and position >= self._skip.end

    def _begin_all(self, deliveries: Sequence[Delivery]) -> None:
        """As `_begin` for each of what is all new, which is nearly everything."""
        positions = [delivery.position for delivery in deliveries]
        self._mark.begin_all(positions)
        self._reached = positions[-1] + 1
        since_step = (self._since_step + len(positions)) % SPACING
        for position in positions[SPACING - 1 - self._since_step :: SPACING]:
            self._step(position)
        self._since_step = since_step
        self._open += len(deliveries)
        self._open_bytes += sum([delivery.size_bytes for delivery in deliveries])

    def _begin(self, delivery: Delivery) -> bool:
        position = delivery.position
        if position >= self._reached:
            self._mark.begin(position)
            self._reached = position + 1
            if position in self._skip:
                self._mark.finish(position)
                return False
            self._since_step += 1
            if self._since_step >= SPACING:
                self._step(position)
        elif position in self._handed_back:
            self._handed_back.discard(position)
            if position in self._skip:
                self._mark.finish(position)
                return False
        else:
            return False
        self._open += 1
        self._open_bytes += delivery.size_bytes
        return True

    def _first(self, position: int) -> None:
        self._began = True
        self._mark = Watermark(position)
        if self._stored is not None and position < self._stored:
            # Someone set the bus back on purpose, to have it all done again.
            self._skip = Spans()

    def _step(self, position: int) -> None:
        if self._reach is not None:
            self._steps.append(position + 1)
        self._since_step = 0

    def _lighten(self, deliveries: Sequence[Delivery]) -> None:
        self._open -= len(deliveries)
        self._open_bytes -= sum([delivery.size_bytes for delivery in deliveries])
        if self._full:
            self._resume_when_light()

    def _is_heavy(self) -> bool:
        return self._mark.tracked >= MAX_OPEN or self._open_bytes >= MAX_OPEN_BYTES

    def _resume_when_light(self) -> None:
        if self._full and self._mark.tracked < MAX_OPEN // 2 and self._open_bytes < MAX_OPEN_BYTES // 2:
            self._full = False
            self.assignment.resume(FULL)
