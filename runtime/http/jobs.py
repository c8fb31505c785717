"""Jobs and workers, as the ledger has them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from litestar import get, post
from litestar.datastructures import State
from litestar.params import FromPath, QueryParameter

from contracts.api_key import OPERATE, VIEW
from contracts.errors import NotFound
from contracts.job import JobRow, JobState, Progress
from contracts.ports.ledger import JobFilter
from runtime.fleet import FleetWorker, HeldPartition, fleet_of, partitions
from runtime.http import cursor as cursors
from runtime.http.site import Site

LIMIT_MAX = 200


class JobLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A job in a list; ask for it by its id to see its command, result, checkpoint and traceback."""

    id: str
    address: str
    state: JobState
    priority: int
    attempt: int
    claims: int
    recorded_at: datetime
    not_before: datetime
    correlation_id: str = ""
    unique_key: str | None = None
    worker_id: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    cancel_requested_at: datetime | None = None
    progress: Progress | None = None
    error: str | None = None


class JobPage(msgspec.Struct, frozen=True, kw_only=True):
    """Newest first; `next` is the `cursor` of the page after this one, null on the last."""

    jobs: list[JobLine]
    next: str | None


class AcceptedJob(msgspec.Struct, frozen=True, kw_only=True):
    """Accepted by this worker, not yet recorded."""

    id: str
    address: str
    state: str = "accepted"


class StateAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an instruction: a running job that was asked to stop is still `running`."""

    job_id: str
    state: JobState


@get("/jobs", summary="List jobs, newest first.", tags=["jobs"], opt={"scope": VIEW})
async def list_jobs(
    state: State,
    states: Annotated[
        list[JobState] | None, QueryParameter(name="state", description="Only these states; can be repeated.")
    ] = None,
    address: Annotated[str | None, QueryParameter(description="Only jobs of this address.")] = None,
    correlation_id: Annotated[str | None, QueryParameter(description="Only jobs of this origin.")] = None,
    cursor: Annotated[str | None, QueryParameter(description="`next` of the page before.")] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=LIMIT_MAX, description="At most this many.")] = 50,
) -> JobPage:
    """Pages do not shift while jobs come in."""
    site: Site = state.site
    wanted = JobFilter(
        states=tuple(states or ()),
        address=address,
        correlation_id=correlation_id,
        before=cursors.read(cursor) if cursor else None,
        limit=limit,
    )
    rows = await site.ledger.desk.list(wanted)
    last = rows[-1] if len(rows) == limit else None
    return JobPage(
        jobs=[_line(row) for row in rows], next=cursors.written((last.recorded_at, last.id)) if last else None
    )


@get("/jobs/{job_id:str}", summary="Show one job whole.", tags=["jobs"], opt={"scope": VIEW})
async def show_job(state: State, job_id: FromPath[str]) -> JobRow | AcceptedJob:
    """A job that this worker accepted and that is not recorded yet reads as `accepted`."""
    site: Site = state.site
    row = await site.ledger.desk.get(job_id)
    if row:
        site.accepted.forget(job_id)
        return row
    if address := site.accepted.address_of(job_id):
        return AcceptedJob(id=job_id, address=address)
    raise NotFound(f"there is no job {job_id[:100]!r}")


@post("/jobs/{job_id:str}/cancel", status_code=202, summary="Cancel a job.", tags=["jobs"], opt={"scope": OPERATE})
async def cancel_job(state: State, job_id: FromPath[str]) -> StateAnswer:
    """A queued job is cancelled at once, a running one is asked to stop; one that has ended otherwise is 409."""
    site: Site = state.site
    return StateAnswer(job_id=job_id, state=await site.ledger.desk.cancel(job_id))


@post(
    "/jobs/{job_id:str}/retry",
    status_code=202,
    summary="Queue a failed or cancelled job again.",
    tags=["jobs"],
    opt={"scope": OPERATE},
)
async def retry_job(state: State, job_id: FromPath[str]) -> StateAnswer:
    """It goes on from its checkpoint, with its attempts anew; a job that is active or done is 409."""
    site: Site = state.site
    await site.ledger.desk.retry(job_id)
    return StateAnswer(job_id=job_id, state=JobState.QUEUED)


@get("/workers", summary="List the living workers, and what each holds.", tags=["workers"], opt={"scope": VIEW})
async def list_workers(state: State) -> tuple[FleetWorker, ...]:
    """With their modules, their leases, their partitions and the jobs that they run."""
    site: Site = state.site
    return (await fleet_of(site.ledger)).workers


@get(
    "/partitions",
    summary="List the partitions that the ledger knows, and who holds them.",
    tags=["workers"],
    opt={"scope": VIEW},
)
async def list_partitions(state: State) -> list[HeldPartition]:
    """As their holders last reported them; `held` is false where nobody alive holds one."""
    ledger = state.site.ledger
    living = [str(worker["id"]) for worker in await ledger.leases.workers()]
    return partitions(await ledger.partitions.holdings(), living)


def _line(row: JobRow) -> JobLine:
    return JobLine(**{name: getattr(row, name) for name in JobLine.__struct_fields__})


HANDLERS = [list_jobs, show_job, cancel_job, retry_job, list_workers, list_partitions]
