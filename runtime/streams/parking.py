"""What waits in the ledger: put there, carried when it is due, and its lane is told when nothing waits any more."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from contracts.errors import Unavailable
from contracts.message import Delivery
from contracts.ports import Ledger
from contracts.ports.clock import Clock
from contracts.ports.parking import Parked, ToPark
from runtime.streams.partition import OwnedPartition
from runtime.streams.passage import Passage

LOOK_EVERY_S = 1.0
"""For what others put there: dead letters that are replayed."""
AT_ONCE = 200


class Parking:
    """Of one route. Moves of one partition take turns, so that nothing slips in front of what waits in its lane."""

    def __init__(self, ledger: Ledger, clock: Clock, *, delays: bool) -> None:
        self._parking = ledger.parking
        self._clock = clock
        self._delays = delays
        self._carried: set[int] = set()
        self._look_at = 0.0

    def holds_back(self, passage: Passage) -> bool:
        """It must wait in the ledger: for its hour, or behind what waits there in its lane."""
        if passage.parked is not None:
            return False
        behind = passage.lane is not None and passage.lane in passage.owned.parked
        return behind or bool(self.early(passage.deliveries))

    def early(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Those whose hour has not come, where the bus doesn't keep them until then."""
        if self._delays:
            return []
        hours = [(delivery, at) for delivery in deliveries if (at := delivery.not_before) is not None]
        if not hours:
            return []
        now = self._clock.now()
        return [delivery for delivery, at in hours if at > now]

    async def park(self, passage: Passage, message: ToPark) -> None:
        """Raises `LeaseLost`, `Unavailable`."""
        owned = passage.owned
        async with owned.parking:
            if owned.hold is None:
                raise Unavailable("the ledger", "it did not answer when the partition was assigned")
            await self._parking.park(owned.hold, [message])
            if message.lane is not None:
                owned.parked.add(message.lane)
        self._look_within(message.after_s)

    async def postpone(self, passage: Passage, *, attempt: int, after_s: float, error: str) -> None:
        assert passage.parked is not None
        await self._parking.postpone(passage.parked, attempt=attempt, after_s=after_s, error=error)
        self._look_within(after_s)

    async def remove(self, passage: Passage, *, committed: bool) -> None:
        """It is done with, or was with the transaction that committed; its lane is free when nothing waits behind."""
        owned, parked = passage.owned, passage.parked
        assert parked is not None
        async with owned.parking:
            if not committed:
                await self._parking.remove(parked)
            if parked.lane is not None and not await self._parking.lanes(parked.hold, among=[parked.lane]):
                owned.parked.discard(parked.lane)
        self._look_at = 0.0  # what waited behind it can come at once

    def ended(self, passage: Passage) -> None:
        """It is not carried any more."""
        if passage.parked is not None:
            self._carried.discard(passage.parked.number)

    async def look(self, owned: Sequence[OwnedPartition], offer: Callable[[Passage], None]) -> None:
        """Offer what is due, when it is time to look; asked often."""
        if self._clock.monotonic() < self._look_at:
            return
        self._look_within(LOOK_EVERY_S, reset=True)
        by_hold = {one.hold: one for one in owned if one.hold is not None and not one.ending}
        if not by_hold:
            return
        for parked in await self._parking.due(list(by_hold), limit=AT_ONCE):
            if parked.number not in self._carried and parked.hold in by_hold:
                self._carried.add(parked.number)
                offer(_passage(by_hold[parked.hold], parked))

    def _look_within(self, wait_s: float, *, reset: bool = False) -> None:
        at = self._clock.monotonic() + wait_s
        self._look_at = at if reset else min(self._look_at, at)


def _passage(owned: OwnedPartition, parked: Parked) -> Passage:
    delivery = Delivery(parked.envelope, owned.assignment.partition, parked.position)
    return Passage(owned, [delivery], parked.lane, parked=parked, suspect=parked.suspect)
