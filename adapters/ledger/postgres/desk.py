"""Jobs for people and the API, on PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import asyncpg
import msgspec

from adapters.ledger.postgres.session import Session
from adapters.ledger.postgres.statements import named
from adapters.ledger.postgres.wakes import CHANNEL
from adapters.ledger.shown import value_of
from contracts.errors import Conflict, NotFound, Permanent
from contracts.job import JobRow, JobState, Progress
from contracts.ports.ledger import JobFilter

SQL = named("desk.sql")

_progress = msgspec.json.Decoder(Progress)


class PostgresDesk:
    """Implements `Desk`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def get(self, job_id: str) -> JobRow | None:
        row = await self._session.row(SQL["get"], job_id)
        return None if row is None else _job_row(row)

    async def list(self, wanted: JobFilter) -> list[JobRow]:
        before_at, before_id = wanted.before or (None, None)
        rows = await self._session.ask(
            SQL["list"],
            [str(state) for state in wanted.states] or None,
            wanted.address,
            wanted.correlation_id,
            before_at,
            before_id,
            wanted.limit,
        )
        return [_job_row(row) for row in rows]

    async def counts(self) -> Mapping[tuple[str, JobState], int]:
        rows = await self._session.ask(SQL["counts"])
        return {(row["address"], JobState(row["state"])): row["jobs"] for row in rows}

    async def cancel(self, job_id: str) -> JobState:
        row = await self._session.row(SQL["cancel"], job_id, CHANNEL)
        if row is None:
            raise NotFound(f"there is no job {job_id!r}")
        if row["state"] not in (JobState.CANCELLED, JobState.RUNNING):
            raise Conflict(f"job {job_id} is {row['state']}: only a queued or running job can be cancelled")
        return JobState(row["state"])

    async def retry(self, job_id: str) -> None:
        try:
            row = await self._session.row(SQL["retry"], job_id, CHANNEL, repeatable=False)
        except Permanent as error:
            if not isinstance(error.__cause__, asyncpg.UniqueViolationError):
                raise
            rival = await self._session.row(SQL["rival"], job_id)
            named_ = f"job {rival['id']}" if rival else "another job"
            raise Conflict(f"job {job_id} waits for {named_}: its unique key is active; retry it afterwards") from None
        if row is None:
            raise NotFound(f"there is no job {job_id!r}")
        if row["was"] not in (JobState.FAILED, JobState.CANCELLED):
            raise Conflict(f"job {job_id} is {row['was']}: only a failed or cancelled job can be retried")

    async def prune(self, *, keep: timedelta, batch: int = 1000) -> int:
        row = await self._session.row(SQL["prune"], keep, batch)
        return int(row[0])


def _job_row(row: Any) -> JobRow:
    fields = dict(row)
    body = fields.pop("body")
    for column in ("checkpoint", "result"):
        fields[column] = value_of(fields[column])
    if fields["progress"] is not None:
        fields["progress"] = _progress.decode(fields["progress"])
    fields["state"] = JobState(fields["state"])
    return JobRow(**fields, command=value_of(body))
