"""Messages that may have killed the process that had them: each is run alone, and charged before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from contracts.errors import LeaseLost
from contracts.ports import Clock, Ledger
from contracts.ports.ledger import CRASH_CAP
from runtime.streams.passage import Passage

ACQUIT_WITHIN_S = 3.0
"""So long a suspect that came back is taken out of the charges, and so long it is waited for before one is judged."""

Ask = Callable[[], Awaitable[Any]]


class Suspicion:
    """`until_answered` asks the ledger until it answers."""

    def __init__(self, ledger: Ledger, clock: Clock, until_answered: Callable[[Ask], Awaitable[Any]]) -> None:
        self._ledger = ledger
        self._clock = clock
        self._until_answered = until_answered

    async def charges(self, passage: Passage) -> int:
        """Counts that it is run alone, before it is. How often a process died of it, as far as one knows: at the cap it
        is not to be run."""
        died = await self._charge(passage)
        if died >= CRASH_CAP:
            await self._clock.sleep(ACQUIT_WITHIN_S)  # who had it before may live, and be about to take its charge back
            died = await self._charge(passage)
        return died

    async def acquit(self, passage: Passage) -> None:
        """It goes back unharmed, so it killed nobody, and is not charged for that; unless the ledger is down for too
        long to wait for it."""
        parked, hold, position = passage.parked, passage.owned.hold, passage.deliveries[0].position
        with suppress(TimeoutError):
            async with self._clock.timeout(ACQUIT_WITHIN_S):
                if parked is not None:
                    await self._until_answered(lambda: self._ledger.parking.acquit(parked))
                elif hold is not None:
                    await self._until_answered(lambda: self._ledger.partitions.acquit(hold, position))

    async def came_back(self, passage: Passage) -> None:
        """It is not the one that kills. That has to be known before the next one runs alone: if that one kills, this
        one would be charged again, and again, and be quarantined in its place."""
        owned, delivery = passage.owned, passage.deliveries[0]
        if (hold := owned.hold) is None or passage.parked is not None or passage.open:
            return
        with suppress(LeaseLost):  # most were finished together with their effects; else the bus tells what was lost
            span = (delivery.position, delivery.position + 1)
            await self._until_answered(lambda: self._ledger.partitions.finish(hold, span))

    async def _charge(self, passage: Passage) -> int:
        """This run, which is yet to come, is counted for the one in company that nobody could be charged for."""
        parked, hold, position = passage.parked, passage.owned.hold, passage.deliveries[0].position
        charges = 1
        if parked is not None:
            charges = await self._until_answered(lambda: self._ledger.parking.charge(parked))
        elif hold is not None:
            charges = await self._until_answered(lambda: self._ledger.partitions.charge(hold, position))
        return charges
