"""Leases of workers, in memory."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec

from adapters.ledger.memory.books import Books
from contracts.job import JobState
from contracts.ports.ledger import CRASH_CAP, Worker


class MemoryLeases:
    """Implements `Leases`."""

    def __init__(self, books: Books) -> None:
        self._books = books

    async def join(self, worker: Worker, *, lease_s: float) -> None:
        now = self._books.now()
        self._books.workers[worker.id] = (worker, now, now + timedelta(seconds=lease_s))

    async def renew(self, worker_id: str, *, lease_s: float) -> bool:
        if (found := self._books.workers.get(worker_id)) is None:
            return False
        until = self._books.now() + timedelta(seconds=lease_s)
        self._books.workers[worker_id] = (found[0], found[1], until)
        return True

    async def leave(self, worker_id: str) -> None:
        self._books.workers.pop(worker_id, None)
        for job in self._books.running(worker_id):
            job.end(JobState.QUEUED, self._books.now())
        self._books.wake()

    async def reap(self) -> list[str]:
        reaped = []
        now = self._books.now()
        for worker_id in [worker_id for worker_id in self._books.workers if not self._books.lives(worker_id)]:
            del self._books.workers[worker_id]
            for job in self._books.running(worker_id):
                job.crashes += 1
                poison = job.crashes >= CRASH_CAP and job.cancel_requested_at is None
                job.end(JobState.FAILED if poison else JobState.QUEUED, now)
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
