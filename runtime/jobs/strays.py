"""Jobs that run here by the ledger, and nowhere in truth: the answer to their claim was lost. They are put back."""

from __future__ import annotations

from contextlib import suppress

from contracts.outcome import Release
from contracts.ports import Clock, Log
from contracts.ports.ledger import Ledger, Settlement
from runtime.jobs.dispatcher import Dispatcher
from runtime.jobs.lease import Lease

LOOK_EVERY_S = 5.0
"""Also without a doubt: a claim that was given up here may still have been under way to the ledger."""


class Strays:
    """Their worker lives, so no reaper takes them: it has to look for itself."""

    def __init__(self, dispatcher: Dispatcher, ledger: Ledger, lease: Lease, clock: Clock, log: Log) -> None:
        self._dispatcher = dispatcher
        self._ledger = ledger
        self._lease = lease
        self._clock = clock
        self._log = log

    async def run(self) -> None:
        """The loop: it looks at once after an answer was lost, else now and then."""
        while True:
            with suppress(TimeoutError):
                async with self._clock.timeout(LOOK_EVERY_S):
                    await self._dispatcher.doubt.wait()
            async with self._dispatcher.standstill():
                self._dispatcher.doubt.clear()
                if worker_id := self._lease.worker_id:  # what an earlier id claimed is the reaper's
                    await self._look(worker_id)

    async def _look(self, worker_id: str) -> None:
        known = [run.handle.claim for run in self._dispatcher.runs.values()]
        try:
            strays = await self._ledger.queue.strays(worker_id, known)
            if not strays:
                return
            released = Release(reason="its claim was never heard of")
            await self._ledger.queue.settle([Settlement(claim=claim, outcome=released) for claim in strays])
        except BaseException:
            self._dispatcher.doubt.set()
            raise
        self._log.warn("jobs whose claim was never heard of were put back", jobs=[claim.id for claim in strays])
        self._dispatcher.left_queued()
