"""What the ledger in memory has written down, and what happens to it."""

from __future__ import annotations

import asyncio
import itertools
from datetime import datetime, timedelta

import msgspec

from adapters.ledger.rank import rank_us
from contracts.job import Claim, JobState, NewJob, Progress
from contracts.message import Partition
from contracts.ports.clock import Clock
from contracts.ports.ledger import DeadLetter, Worker
from contracts.ports.parking import ToPark
from contracts.ports.partitions import Hold, Span

ACTIVE = (JobState.QUEUED, JobState.RUNNING)


class Job(msgspec.Struct, kw_only=True):
    """A command and what has become of it; `key` is its unique key as it is kept."""

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

    def claim(self) -> Claim:
        """Of the run that it is in."""
        return Claim(
            id=self.new.id,
            address=self.new.address,
            body=self.new.body,
            fence=self.fence,
            attempt=self.attempt + 1,
            claims=self.claims,
            headers=self.new.headers,
            correlation_id=self.new.correlation_id,
            checkpoint=self.checkpoint,
            recorded_at=self.recorded_at,
        )

    def end(self, state: JobState, now: datetime) -> None:
        """Go to `state`; back to the line only when its cancellation was not asked for."""
        self.state = JobState.CANCELLED if state is JobState.QUEUED and self.cancel_requested_at else state
        self.finished_at = None if self.state in ACTIVE else now
        if self.state is JobState.QUEUED:
            self.worker_id = None


class Waiting(msgspec.Struct, kw_only=True):
    """A parked message."""

    message: ToPark
    due_at: datetime
    attempt: int
    error: str
    epoch: int
    charged: set[int]


class Row(msgspec.Struct, kw_only=True):
    """A partition of a group, and how far it stands; `finished` is what is finished at or above its position."""

    epoch: int = 0
    incarnation: str | None = None
    worker_id: str | None = None
    taken_at: datetime | None = None
    reported_at: datetime | None = None
    position: int | None = None
    reach: int | None = None
    suspects_below: int | None = None
    suspect_epoch: int = 0
    lag: int = 0
    open: int = 0
    finished: list[Span] = []
    charged: dict[int, set[int]] = {}
    state: dict[str, bytes] = {}
    parked: dict[int, Waiting] = {}


class Books:
    """The tables, and what happens to their rows."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.id = clock.new_id()
        self.jobs: dict[str, Job] = {}
        self.workers: dict[str, tuple[Worker, datetime, datetime]] = {}
        self.letters: dict[tuple[str, str, str], DeadLetter] = {}
        self.partitions: dict[tuple[str, Partition], Row] = {}
        self.seen: dict[tuple[str, str, str], datetime] = {}
        self.parked = itertools.count(1)
        self.listening: set[asyncio.Event] = set()
        self.open = False
        self._now = clock.now()

    def now(self) -> datetime:
        """The clock's instant, and never before an instant that was given out."""
        self._now = max(self._now, self.clock.now())
        return self._now

    def tick(self) -> datetime:
        """An instant of its own: what is recorded first goes first."""
        self._now = self.now() + timedelta(microseconds=1)
        return self._now

    def wake(self) -> None:
        for signal in self.listening:
            signal.set()

    def lives(self, worker_id: str | None) -> bool:
        found = self.workers.get(worker_id or "")
        return found is not None and found[2] > self.now()

    def free_of_rivals(self, job: Job) -> bool:
        return job.key is None or not any(
            other.key == job.key and other.state is JobState.RUNNING for other in self.jobs.values()
        )

    def waiting(self, address: str) -> list[Job]:
        """The eligible jobs of an address, best first."""
        now = self.now()
        found = [
            job
            for job in self.jobs.values()
            if job.state is JobState.QUEUED
            and job.new.address == address
            and job.not_before <= now
            and self.free_of_rivals(job)
        ]
        return sorted(found, key=Job.line)

    def start(self, job: Job, worker_id: str) -> Claim:
        job.state, job.worker_id, job.started_at = JobState.RUNNING, worker_id, self.now()
        job.fence += 1
        job.claims += 1
        return job.claim()

    def held(self, claim: Claim) -> Job | None:
        job = self.jobs.get(claim.id)
        return job if job and job.fence == claim.fence and job.state is JobState.RUNNING else None

    def row_of(self, hold: Hold) -> Row | None:
        """None: the epoch has moved on."""
        row = self.partitions.get((hold.group, hold.partition))
        return row if row is not None and row.epoch == hold.epoch else None

    def running(self, worker_id: str) -> list[Job]:
        return [job for job in self.jobs.values() if job.state is JobState.RUNNING and job.worker_id == worker_id]
