"""Where jobs are looked after: in the ledger when this process can open it, else by a running worker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Protocol

from contracts.errors import BadInput, MillraceError, NotFound, Unavailable
from contracts.job import JobRow, JobState
from contracts.ports.ledger import JobFilter
from runtime.cli.ledger_access import opened, the_ledger

if TYPE_CHECKING:
    from runtime.cli.remote import Remote
    from runtime.settings import Settings

SEARCHED = 1000


class Desk(Protocol):
    """Jobs for people, as `contracts.ports.ledger.Desk` has them."""

    async def get(self, job_id: str) -> JobRow | None: ...

    async def list(self, wanted: JobFilter) -> list[JobRow]: ...

    async def cancel(self, job_id: str) -> JobState: ...

    async def retry(self, job_id: str) -> None: ...


@asynccontextmanager
async def the_desk(settings: Settings) -> AsyncIterator[Desk]:
    """Raises `NotFound` when there is neither a ledger nor a worker that answers."""
    async with AsyncExitStack() as stack:
        desk: Desk
        try:
            desk = (await stack.enter_async_context(the_ledger(settings))).ledger.desk
        except (NotFound, Unavailable) as error:
            desk = await worker_instead(settings, error)
        yield desk


async def worker_instead(settings: Settings, why: MillraceError) -> Remote:
    """The worker at this machine's HTTP address, because there is no ledger; raises `NotFound` with both reasons."""
    if worker := await worker_here(settings):
        return worker
    raise NotFound(
        f"{why}; and no worker answers at {_here(settings)}. Start a worker (`faststream run runtime.app:app`), "
        "run a job (`millrace run MODULE`), or make the ledger (`millrace migrate up`)"
    ) from None


async def worker_here(settings: Settings) -> Remote | None:
    """The worker that answers at `HTTP_HOST` and `HTTP_PORT`, if one does."""
    from runtime.cli.remote import Remote

    async with opened(settings, "secrets") as adapters:
        worker = Remote(_here(settings), await adapters.secrets.get("HTTP_TOKEN"))
    return worker if settings.http_port and await worker.is_millrace() else None


async def found(desk: Desk, job_id: str) -> JobRow:
    """The job with this id or beginning; raises `NotFound`, or `BadInput` when several begin so."""
    if row := await desk.get(job_id):
        return row
    matches = [row.id for row in await desk.list(JobFilter(limit=SEARCHED)) if row.id.startswith(job_id)]
    if len(matches) > 1:
        raise BadInput(f"{len(matches)} jobs begin with {job_id!r}, such as {', '.join(matches[:3])}; give more of it")
    if matches and (row := await desk.get(matches[0])):
        return row
    raise NotFound(f"no job is {job_id!r}, and none of the newest {SEARCHED} begins so; see `millrace jobs list`")


def _here(settings: Settings) -> str:
    host = settings.http_host
    if host in ("0.0.0.0", "::"):  # noqa: S104 - where a worker listens on all, this machine finds it on loopback
        host = "127.0.0.1"
    return f"http://[{host}]:{settings.http_port}" if ":" in host else f"http://{host}:{settings.http_port}"
