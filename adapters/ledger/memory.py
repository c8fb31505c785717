"""The ledger in memory, on the Clock port: for tests and simulation. Nothing in it outlives the process."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from adapters.ledger import storable
from adapters.ledger.ending import ending_of
from adapters.ledger.rank import bounded, rank_us
from adapters.ledger.shown import command_of
from contracts.errors import Conflict, LeaseLost, NotFound
from contracts.job import Claim, JobRow, JobState, NewJob, Progress
from contracts.ports.clock import Clock
from contracts.ports.database import Guard, Tx
from contracts.ports.ledger import CRASH_CAP, DeadLetter, JobFilter, Recorded, Settlement, Worker

ACTIVE = (JobState.QUEUED, JobState.RUNNING)


class _Job(msgspec.Struct, kw_only=True):
    new: NewJob
    state: JobState
    recorded_at: datetime
    not_before: datetime
    key: str | None
    attempt: int = 0
    claims: int = 0
    crashes: int = 0
    fence: int = 0
    worker_id: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    cancel_requested_at: datetime | None = None
    checkpoint: bytes | None = None
    progress: Progress | None = None
    result: bytes | None = None
    error: str | None = None
    traceback: str | None = None

    def line(self) -> tuple[int, str]:
        return rank_us(self.recorded_at, self.not_before, self.new.priority), self.new.id

    def end(self, state: JobState, now: datetime) -> None:
        """Go to `state`; back to the line only when its cancellation was not asked for."""
        self.state = JobState.CANCELLED if state is JobState.QUEUED and self.cancel_requested_at else state
        self.finished_at = None if self.state in ACTIVE else now


class _Books:
    """The tables, and what happens to their rows."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.id = clock.new_id()
        self.jobs: dict[str, _Job] = {}
        self.workers: dict[str, tuple[Worker, datetime, datetime]] = {}
        self.letters: dict[tuple[str, str], DeadLetter] = {}
        self.listening: set[asyncio.Event] = set()
        self.open = False

    def wake(self) -> None:
        for signal in self.listening:
            signal.set()

    def lives(self, worker_id: str | None) -> bool:
        found = self.workers.get(worker_id or "")
        return found is not None and found[2] > self.clock.now()

    def free_of_rivals(self, job: _Job) -> bool:
        return job.key is None or not any(
            other.key == job.key and other.state is JobState.RUNNING for other in self.jobs.values()
        )

    def waiting(self, address: str) -> list[_Job]:
        """The eligible jobs of an address, best first."""
        now = self.clock.now()
        found = [
            job
            for job in self.jobs.values()
            if job.state is JobState.QUEUED
            and job.new.address == address
            and job.not_before <= now
            and self.free_of_rivals(job)
        ]
        return sorted(found, key=_Job.line)

    def start(self, job: _Job, worker_id: str) -> Claim:
        job.state, job.worker_id, job.started_at = JobState.RUNNING, worker_id, self.clock.now()
        job.fence += 1
        job.claims += 1
        return Claim(
            id=job.new.id,
            address=job.new.address,
            body=job.new.body,
            fence=job.fence,
            attempt=job.attempt + 1,
            claims=job.claims,
            headers=job.new.headers,
            correlation_id=job.new.correlation_id,
            checkpoint=job.checkpoint,
            recorded_at=job.recorded_at,
        )

    def held(self, claim: Claim) -> _Job | None:
        job = self.jobs.get(claim.id)
        return job if job and job.fence == claim.fence and job.state is JobState.RUNNING else None

    def running(self, worker_id: str) -> list[_Job]:
        return [job for job in self.jobs.values() if job.state is JobState.RUNNING and job.worker_id == worker_id]


class MemoryLeases:
    """Implements `Leases`."""

    def __init__(self, books: _Books) -> None:
        self._books = books

    async def join(self, worker: Worker, *, lease_s: float) -> None:
        now = self._books.clock.now()
        self._books.workers[worker.id] = (worker, now, now + timedelta(seconds=lease_s))

    async def renew(self, worker_id: str, *, lease_s: float) -> bool:
        if (found := self._books.workers.get(worker_id)) is None:
            return False
        until = self._books.clock.now() + timedelta(seconds=lease_s)
        self._books.workers[worker_id] = (found[0], found[1], until)
        return True

    async def leave(self, worker_id: str) -> None:
        self._books.workers.pop(worker_id, None)
        for job in self._books.running(worker_id):
            job.end(JobState.QUEUED, self._books.clock.now())
            job.worker_id = None
        self._books.wake()

    async def reap(self) -> list[str]:
        reaped = []
        now = self._books.clock.now()
        for worker_id in [worker_id for worker_id in self._books.workers if not self._books.lives(worker_id)]:
            del self._books.workers[worker_id]
            for job in self._books.running(worker_id):
                job.crashes += 1
                poison = job.crashes >= CRASH_CAP and job.cancel_requested_at is None
                job.end(JobState.FAILED if poison else JobState.QUEUED, now)
                job.worker_id = None
                if poison:
                    job.error = f"poison: its worker died {CRASH_CAP} times while running it"
                reaped.append(job.new.id)
        if reaped:
            self._books.wake()
        return reaped

    async def workers(self) -> list[Mapping[str, Any]]:
        return [
            {
                **msgspec.structs.asdict(worker),
                "started_at": started_at,
                "lease_until": lease_until,
                "running": len(self._books.running(worker.id)),
            }
            for worker, started_at, lease_until in self._books.workers.values()
            if self._books.lives(worker.id)
        ]


class MemoryQueue:
    """Implements `Queue`; nothing in it awaits, so every method is atomic. It has no database: no guard, and a
    checkpoint `tx` is not tied to that transaction."""

    def __init__(self, books: _Books) -> None:
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
        fresh: list[tuple[int, _Job]] = []
        now = self._books.clock.now()
        for place, new in enumerate(jobs):
            if new.id in self._books.jobs:
                became[place] = Recorded(id=new.id, became="known")
                continue
            job = _Job(
                new=msgspec.structs.replace(new, priority=bounded(new.priority)),
                state=JobState.QUEUED,
                recorded_at=now + timedelta(microseconds=place),
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
        chosen: list[_Job] = []
        keys: set[str] = set()
        for address, count in slots.items():
            free = count
            for job in self._books.waiting(address):
                if free > 0 and (not only or job.new.id in only) and job.key not in keys:
                    chosen.append(job)
                    free -= 1
                    keys.update(filter(None, [job.key]))
        return [self._books.start(job, worker_id) for job in sorted(chosen, key=_Job.line)]

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
            while await signal.wait() and self._books.open:
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
        return (min(due) - self._books.clock.now()).total_seconds() if due else None

    def _active_rival(self, job: _Job) -> str | None:
        if job.key is None or not job.new.unique_skip:
            return None
        rivals = [other for other in self._books.jobs.values() if other.key == job.key and other.state in ACTIVE]
        return min(rivals, key=lambda rival: (rival.state is JobState.QUEUED, rival.line())).new.id if rivals else None

    def _start_at_once(
        self,
        fresh: Iterable[tuple[int, _Job]],
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
            waits = job.key is not None or job.not_before > self._books.clock.now() or (first and first < job.line())
            if not waits and free.get(job.new.address, 0) > 0:
                free[job.new.address] -= 1
                became[place] = Recorded(id=job.new.id, became="recorded", claim=self._books.start(job, worker_id))

    def _settle(self, settlement: Settlement) -> bool:
        ending = ending_of(settlement)
        job = self._books.jobs.get(settlement.claim.id)
        if job is None or self._books.held(settlement.claim) is None:
            return (
                job is not None
                and job.fence == settlement.claim.fence
                and job.state is ending.state is not JobState.QUEUED
            )
        now = self._books.clock.now()
        job.end(ending.state, now)
        job.attempt += ending.counts
        job.progress = _progress(ending.progress) or job.progress
        if ending.state is JobState.QUEUED:
            job.not_before = now + timedelta(seconds=ending.after_s)
        if ending.error is not None:
            job.error, job.traceback = ending.error or None, ending.traceback or None
        if ending.state is JobState.DONE:
            job.error = job.traceback = job.checkpoint = None
            job.result = None if ending.result is None else ending.result.encode()
        return True


class MemoryDesk:
    """Implements `Desk`."""

    def __init__(self, books: _Books) -> None:
        self._books = books

    async def get(self, job_id: str) -> JobRow | None:
        job = self._books.jobs.get(job_id)
        return None if job is None else _row(job)

    async def list(self, wanted: JobFilter) -> list[JobRow]:
        found = [
            job
            for job in self._books.jobs.values()
            if (not wanted.states or job.state in wanted.states)
            and wanted.address in (None, job.new.address)
            and wanted.correlation_id in (None, job.new.correlation_id)
            and (wanted.before is None or (job.recorded_at, job.new.id) < wanted.before)
        ]
        found.sort(key=lambda job: (job.recorded_at, job.new.id), reverse=True)
        return [_row(job) for job in found[: wanted.limit]]

    async def counts(self) -> Mapping[tuple[str, JobState], int]:
        return Counter((job.new.address, job.state) for job in self._books.jobs.values())

    async def cancel(self, job_id: str) -> JobState:
        job = self._known(job_id)
        if job.state not in (*ACTIVE, JobState.CANCELLED):
            raise Conflict(f"job {job_id} is {job.state}: only a queued or running job can be cancelled")
        now = self._books.clock.now()
        if job.state is not JobState.CANCELLED:
            job.cancel_requested_at = job.cancel_requested_at or now
        if job.state is JobState.QUEUED:
            job.end(JobState.CANCELLED, now)
        self._books.wake()
        return job.state

    async def retry(self, job_id: str) -> None:
        job = self._known(job_id)
        if job.state not in (JobState.FAILED, JobState.CANCELLED):
            raise Conflict(f"job {job_id} is {job.state}: only a failed or cancelled job can be retried")
        for rival in self._books.jobs.values():
            if job.key and rival.key == job.key and rival.state in ACTIVE and rival.new.unique_skip:
                raise Conflict(
                    f"job {job_id} waits for job {rival.new.id}: its unique key is active; retry it afterwards"
                )
        job.state, job.attempt, job.crashes, job.not_before = JobState.QUEUED, 0, 0, self._books.clock.now()
        job.worker_id = job.started_at = job.finished_at = job.cancel_requested_at = job.error = job.traceback = None
        self._books.wake()

    async def prune(self, *, keep: timedelta, batch: int = 1000) -> int:
        until = self._books.clock.now() - keep
        old = [id_ for id_, job in self._books.jobs.items() if job.finished_at is not None and job.finished_at < until]
        for id_ in old[:batch]:
            del self._books.jobs[id_]
        return len(old[:batch])

    def _known(self, job_id: str) -> _Job:
        if (job := self._books.jobs.get(job_id)) is None:
            raise NotFound(f"there is no job {job_id!r}")
        return job


class MemoryDeadLetters:
    """Implements `DeadLetters`."""

    def __init__(self, books: _Books) -> None:
        self._books = books

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        for letter in map(storable.letter, letters):
            buried = msgspec.structs.replace(letter, buried_at=letter.buried_at or self._books.clock.now())
            self._books.letters.setdefault((letter.address, letter.id), buried)

    async def list(self, *, address: str | None = None, limit: int = 50) -> list[DeadLetter]:
        found = [letter for letter in self._books.letters.values() if address in (None, letter.address)]
        return sorted(found, key=lambda letter: letter.buried_at or self._books.clock.now(), reverse=True)[:limit]

    async def prune(self, *, keep: timedelta, batch: int = 1000) -> int:
        until = self._books.clock.now() - keep
        old = [name for name, letter in self._books.letters.items() if letter.buried_at and letter.buried_at < until]
        for name in old[:batch]:
            del self._books.letters[name]
        return len(old[:batch])


class MemoryLedger:
    """Implements `Ledger`."""

    address = "memory"

    def __init__(self, clock: Clock) -> None:
        self._books = _Books(clock)
        self.leases = MemoryLeases(self._books)
        self.queue = MemoryQueue(self._books)
        self.desk = MemoryDesk(self._books)
        self.dead_letters = MemoryDeadLetters(self._books)

    async def open(self) -> None:
        self._books.open = True

    async def check(self) -> None:
        return

    async def close(self) -> None:
        self._books.open = False
        self._books.wake()

    async def identity(self) -> str:
        return self._books.id


def _progress(kept: str | None) -> Progress | None:
    return None if kept is None else msgspec.json.decode(kept, type=Progress)


def _row(job: _Job) -> JobRow:
    return JobRow(
        id=job.new.id,
        address=job.new.address,
        state=job.state,
        priority=job.new.priority,
        attempt=job.attempt + (job.state is JobState.RUNNING),
        claims=job.claims,
        recorded_at=job.recorded_at,
        not_before=job.not_before,
        correlation_id=job.new.correlation_id,
        unique_key=job.key,
        worker_id=job.worker_id,
        started_at=job.started_at,
        finished_at=job.finished_at,
        cancel_requested_at=job.cancel_requested_at,
        progress=job.progress,
        checkpoint=None if job.checkpoint is None else msgspec.json.decode(job.checkpoint),
        result=None if job.result is None else msgspec.json.decode(job.result),
        error=job.error,
        traceback=job.traceback,
        command=command_of(job.new.body),
    )
