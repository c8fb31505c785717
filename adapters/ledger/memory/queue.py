"""Jobs on their way, in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import timedelta

import msgspec

from adapters.ledger import storable
from adapters.ledger.ending import ending_of
from adapters.ledger.memory.books import ACTIVE, Books, Job
from adapters.ledger.rank import bounded
from contracts.errors import LeaseLost
from contracts.job import Claim, JobState, NewJob, Progress
from contracts.ports.database import Guard, Tx
from contracts.ports.ledger import Recorded, Settlement


class MemoryQueue:
    """Implements `Queue`; nothing in it awaits, so every method is atomic. It has no database: no guard, and a
    checkpoint `tx` is not tied to that transaction."""

    def __init__(self, books: Books) -> None:
        self._books = books

    async def record(
        self,
        jobs: Sequence[NewJob],
        *,
        worker_id: str | None = None,
        slots: Mapping[str, int] | None = None,
    ) -> list[Recorded]:
        for new in jobs:
            storable.name(new.id, what="job id")
            storable.name(new.address, what="address")
        became: list[Recorded | None] = [None] * len(jobs)
        fresh: list[tuple[int, Job]] = []
        now = self._books.now()
        for place, new in enumerate(jobs):
            if new.id in self._books.jobs:
                became[place] = Recorded(id=new.id, became="known")
                continue
            job = Job(
                new=msgspec.structs.replace(new, priority=bounded(new.priority)),
                state=JobState.QUEUED,
                recorded_at=self._books.tick(),
                not_before=new.not_before or now,
                key=storable.key(new.unique_key),
            )
            if active_id := self._active_rival(job):
                job.end(JobState.SKIPPED, now)
                job.error = f"skipped: job {active_id} with the same unique key was active"
                became[place] = Recorded(id=new.id, became="skipped", active_id=active_id)
            else:
                fresh.append((place, job))
            self._books.jobs[new.id] = job
        self._start_at_once(fresh, became, worker_id, slots or {})
        if any(job.state is JobState.QUEUED for _, job in fresh):
            self._books.wake()
        return [one or Recorded(id=new.id, became="recorded") for one, new in zip(became, jobs, strict=True)]

    async def claim(self, worker_id: str, slots: Mapping[str, int], *, only: Sequence[str] = ()) -> list[Claim]:
        if not self._books.lives(worker_id):
            return []
        chosen: list[Job] = []
        keys: set[str] = set()
        for address, count in slots.items():
            free = count
            for job in self._books.waiting(address):
                if free > 0 and (not only or job.new.id in only) and job.key not in keys:
                    chosen.append(job)
                    free -= 1
                    keys.update(filter(None, [job.key]))
        return [self._books.start(job, worker_id) for job in sorted(chosen, key=Job.line)]

    async def strays(self, worker_id: str, known: Sequence[Claim]) -> list[Claim]:
        fences = {claim.id: claim.fence for claim in known}
        running = sorted(self._books.running(worker_id), key=Job.line)
        return [job.claim() for job in running if fences.get(job.new.id) != job.fence]

    async def acquit(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            job = self._books.jobs.get(claim.id)
            if job is not None and job.fence >= claim.fence and job.crashes and not job.state.final:
                job.crashes -= 1

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        settled = [self._settle(settlement) for settlement in settlements]
        if any(settled):
            self._books.wake()
        return settled

    async def note(self, notes: Sequence[tuple[Claim, Progress | None]]) -> list[str]:
        stopping = []
        for claim, progress in notes:
            job = self._books.held(claim)
            if job is not None and progress is not None:
                job.progress = _progress(storable.progress(progress))
            if job is None or job.cancel_requested_at is not None:
                stopping.append(claim.id)
        return stopping

    async def checkpoint(self, claim: Claim, state: bytes, *, tx: Tx | None = None) -> None:
        kept = storable.json(state, what="the checkpoint").encode()
        if (job := self._books.held(claim)) is None:
            raise LeaseLost(f"job {claim.id}: another worker owns it now (this run's fence was {claim.fence})")
        job.checkpoint = kept

    def guard(self, claim: Claim) -> Guard | None:
        return None

    async def wakeups(self) -> AsyncIterator[None]:
        signal = asyncio.Event()
        signal.set()
        self._books.listening.add(signal)
        try:
            while True:
                await signal.wait()
                if not self._books.open:
                    return
                signal.clear()
                yield
        finally:
            self._books.listening.discard(signal)

    async def next_due_s(self, addresses: Sequence[str]) -> float | None:
        due = [
            job.not_before
            for job in self._books.jobs.values()
            if job.state is JobState.QUEUED and job.new.address in addresses and self._books.free_of_rivals(job)
        ]
        return (min(due) - self._books.now()).total_seconds() if due else None

    def _active_rival(self, job: Job) -> str | None:
        if job.key is None or not job.new.unique_skip:
            return None
        rivals = [other for other in self._books.jobs.values() if other.key == job.key and other.state in ACTIVE]
        return min(rivals, key=lambda rival: (rival.state is JobState.QUEUED, rival.line())).new.id if rivals else None

    def _start_at_once(
        self,
        fresh: Iterable[tuple[int, Job]],
        became: list[Recorded | None],
        worker_id: str | None,
        slots: Mapping[str, int],
    ) -> None:
        if worker_id is None or not self._books.lives(worker_id):
            return
        new_ids = {job.new.id for _, job in fresh}
        ahead = {
            address: min(
                (job.line() for job in self._books.waiting(address) if job.new.id not in new_ids), default=None
            )
            for address in slots
        }
        free = dict(slots)
        for place, job in sorted(fresh, key=lambda one: one[1].line()):
            first = ahead.get(job.new.address)
            waits = (
                job.key is not None or job.not_before > self._books.now() or (first is not None and first < job.line())
            )
            if not waits and free.get(job.new.address, 0) > 0:
                free[job.new.address] -= 1
                became[place] = Recorded(id=job.new.id, became="recorded", claim=self._books.start(job, worker_id))

    def _settle(self, settlement: Settlement) -> bool:
        ending = ending_of(settlement)
        claim = settlement.claim
        if (job := self._books.held(claim)) is None:
            known = self._books.jobs.get(claim.id)
            ended_so = known is not None and known.fence == claim.fence and known.state is ending.state
            return ended_so and ending.state is not JobState.QUEUED
        now = self._books.tick()
        job.end(ending.state, now)
        job.attempt += ending.counts
        job.progress = _progress(ending.progress) or job.progress
        if ending.after_s is not None:
            job.not_before = now + timedelta(seconds=ending.after_s)
        if ending.error is not None:
            job.error, job.traceback = ending.error or None, ending.traceback or None
        job.result = None if ending.result is None else ending.result.encode()
        if ending.state is JobState.DONE:
            job.error = job.traceback = None
        if ending.state is JobState.DONE or job.result is not None:
            job.checkpoint = None
        return True


def _progress(kept: str | None) -> Progress | None:
    return None if kept is None else msgspec.json.decode(kept, type=Progress)
