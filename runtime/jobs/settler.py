"""Ends of runs, written together: while one statement is on its way, the next ones gather."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from contracts.errors import Unavailable
from contracts.job import Claim
from contracts.ports import Clock, Log
from contracts.ports.ledger import Queue, Settlement

BATCH = 500
RETRY_MAX_S = 5.0


class Settler:
    """`settle` returns once the end of the run is durable, or was refused because its fence is lost."""

    def __init__(self, queue: Queue, clock: Clock, log: Log) -> None:
        self._queue = queue
        self._clock = clock
        self._log = log
        self._waiting: deque[tuple[Settlement, asyncio.Future[bool]]] = deque()
        self._arrived = asyncio.Event()

    async def settle(self, settlement: Settlement) -> bool:
        """False: the job belongs to another worker now, nothing was changed."""
        written: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((settlement, written))
        self._arrived.set()
        return await written

    async def run(self) -> None:
        """The loop. What can't be written because the ledger is down is kept and tried again."""
        failures = 0
        while True:
            await self._arrived.wait()
            batch = [self._waiting[n] for n in range(min(BATCH, len(self._waiting)))]
            try:
                accepted = await self._queue.settle([settlement for settlement, _ in batch])
            except Unavailable as error:
                failures += 1
                self._log.warn(
                    "the ledger does not take settlements; they are kept", waiting=len(self._waiting), error=str(error)
                )
                await self._clock.sleep(min(RETRY_MAX_S, 0.1 * 2.0**failures))
                continue
            failures = 0
            await self._acquit(
                [settlement.claim for (settlement, _), ok in zip(batch, accepted, strict=True) if not ok]
            )
            for (_, written), ok in zip(batch, accepted, strict=True):
                self._waiting.popleft()
                if not written.done():
                    written.set_result(ok)
            if not self._waiting:
                self._arrived.clear()

    async def _acquit(self, refused: Sequence[Claim]) -> None:
        """This worker was taken for dead: it stood still, or was out of reach. Its jobs are not to blame for that."""
        if not refused:
            return
        try:
            await self._queue.acquit(refused)
        except Unavailable as error:
            self._log.warn(
                "jobs stay charged with a death that was none", jobs=[claim.id for claim in refused], error=str(error)
            )
