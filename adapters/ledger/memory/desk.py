"""Jobs for people and the API, in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta

from adapters.ledger.memory.books import ACTIVE, Books, Job
from adapters.ledger.shown import value_of
from contracts.errors import Conflict, NotFound
from contracts.job import JobRow, JobState
from contracts.ports.ledger import JobFilter


class MemoryDesk:
    """Implements `Desk`."""

    def __init__(self, books: Books) -> None:
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
        now = self._books.now()
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
        job.state, job.attempt, job.crashes, job.not_before = JobState.QUEUED, 0, 0, self._books.now()
        job.worker_id = job.started_at = job.finished_at = job.cancel_requested_at = None
        job.error = job.traceback = job.result = None
        self._books.wake()

    async def prune(self, *, keep: timedelta, batch: int = 1000) -> int:
        until = self._books.now() - keep
        old = [id_ for id_, job in self._books.jobs.items() if job.finished_at is not None and job.finished_at < until]
        for id_ in old[:batch]:
            del self._books.jobs[id_]
        return len(old[:batch])

    def _known(self, job_id: str) -> Job:
        if (job := self._books.jobs.get(job_id)) is None:
            raise NotFound(f"there is no job {job_id!r}")
        return job


def _row(job: Job) -> JobRow:
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
        checkpoint=value_of(job.checkpoint),
        result=value_of(job.result),
        error=job.error,
        traceback=job.traceback,
        command=value_of(job.new.body),
    )
