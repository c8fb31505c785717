"""What any worker does for all: take back the jobs of the dead, forget what is old, count what there is."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from contracts import metrics as metric
from contracts.job import JobState
from contracts.ports import Clock, Log, Metrics
from contracts.ports.ledger import Ledger

PRUNE_EVERY_S = 600.0
COUNT_EVERY_S = 15.0


class Housekeeping:
    """Three loops; every worker runs them, and several at once do no harm."""

    def __init__(self, ledger: Ledger, clock: Clock, log: Log, metrics: Metrics) -> None:
        self._ledger = ledger
        self._clock = clock
        self._log = log
        self._metrics = metrics

    async def reap(self, *, every_s: float) -> None:
        """The loop that puts back the jobs of workers whose lease ran out."""
        while True:
            if taken := await self._ledger.leases.reap():
                self._log.warn("jobs of dead workers were put back", jobs=taken)
            await self._clock.sleep(every_s * (0.5 + self._clock.random()))

    async def prune(self, *, keep_jobs: timedelta, keep_letters: timedelta) -> None:
        """The loop that deletes ended jobs and dead letters past their retention, and what streams need not know any
        more, a batch at a time; and finds another worker for what waits for one that is gone."""
        while True:
            await self._clock.sleep(PRUNE_EVERY_S * (0.5 + self._clock.random()))
            await self._ledger.partitions.adopt()
            for prune in (
                partial(self._ledger.desk.prune, keep=keep_jobs),
                partial(self._ledger.dead_letters.prune, keep=keep_letters),
                self._ledger.partitions.prune,
            ):
                while await prune():
                    await self._clock.sleep(0.1)

    async def count(self) -> None:
        """The loop that keeps the gauge of jobs by state."""
        while True:
            counts = await self._ledger.desk.counts()
            for address in {address for address, _ in counts}:
                for state in JobState:
                    self._metrics.set(metric.JOBS, counts.get((address, state), 0), address=address, state=state.value)
            await self._clock.sleep(COUNT_EVERY_S)
