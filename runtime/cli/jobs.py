"""`millrace jobs`: what there is of jobs, and what can be done about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Meta

from contracts.errors import NotFound
from contracts.job import JobRow, JobState
from runtime import exits
from runtime.cli.command import Options, command, run_async
from runtime.cli.invocation import Invocation

if TYPE_CHECKING:
    from runtime.cli.desk import Desk

COLUMNS = ("id", "address", "state", "attempt", "priority", "recorded_at", "finished_at", "error")
POLL_S = 0.25
_ERROR_SHOWN = 100

JobId = Annotated[
    str, Meta(min_length=1, description="The job's id, or a beginning of it that is unique.", extra={"argument": "ID"})
]


class ListJobs(Options, frozen=True):
    """Which ones."""

    state: Annotated[tuple[JobState, ...], Meta(description="Only these states.")] = ()
    address: Annotated[str | None, Meta(description="Only jobs of this address.")] = None
    correlation_id: Annotated[str | None, Meta(description="Only jobs of this origin.")] = None
    older_than: Annotated[str | None, Meta(description="Only what was recorded before this job, by its id.")] = None
    limit: Annotated[int, Meta(ge=1, le=1000, description="At most this many.")] = 50


class OneJob(Options, frozen=True):
    """Which one."""

    id: JobId


class WaitForJob(Options, frozen=True):
    """Which one, and how long."""

    id: JobId
    timeout_s: Annotated[float, Meta(ge=0, description="Give up after this many seconds.")] = 86_400.0


def add(app: typer.Typer) -> None:
    """Add `jobs list`, `show`, `wait`, `cancel` and `retry`."""
    group = typer.Typer(help="List, watch, cancel and retry jobs.", no_args_is_help=True)
    app.add_typer(group, name="jobs")
    examples = "millrace jobs list --state failed --limit 20\nmillrace jobs list --address run.batch_etl --output json"
    command(group, "jobs list", ListJobs, list_, examples=examples)
    command(group, "jobs show", OneJob, show, examples="millrace jobs show 0199c0de")
    command(group, "jobs wait", WaitForJob, wait, examples="millrace jobs wait 0199c0de --timeout-s 600")
    command(group, "jobs cancel", OneJob, cancel, examples="millrace jobs cancel 0199c0de")
    command(group, "jobs retry", OneJob, retry, examples="millrace jobs retry 0199c0de")


def list_(invocation: Invocation, asked: ListJobs) -> int | None:
    """List jobs, newest first."""
    from contracts.ports.ledger import JobFilter
    from runtime.cli.desk import found, the_desk

    async def act() -> None:
        async with the_desk(invocation.settings) as desk:
            last = await found(desk, asked.older_than) if asked.older_than else None
            wanted = JobFilter(
                states=asked.state,
                address=asked.address,
                correlation_id=asked.correlation_id,
                before=(last.recorded_at, last.id) if last else None,
                limit=asked.limit,
            )
            rows = await desk.list(wanted)
        if invocation.output.as_json:
            invocation.output.rows(rows)
        else:
            invocation.output.rows([_line(row) for row in rows], columns=COLUMNS, none="no such jobs")

    return run_async(act)


def show(invocation: Invocation, asked: OneJob) -> int | None:
    """Show one job: its command, progress, checkpoint, result and error."""
    from runtime.cli.desk import found, the_desk

    async def act() -> None:
        async with the_desk(invocation.settings) as desk:
            invocation.output.value(await found(desk, asked.id))

    return run_async(act)


def wait(invocation: Invocation, asked: WaitForJob) -> int | None:
    """Wait until a job has ended, showing its progress; exit code 0 only when it is done. Ctrl-C leaves it alone."""
    from runtime.cli.desk import found, the_desk
    from runtime.cli.told import told

    async def act() -> int:
        async with the_desk(invocation.settings) as desk:
            row = await found(desk, asked.id)
            ended = row if row.state.final else await _ended(invocation, desk, row, asked.timeout_s)
        if ended is None:
            invocation.output.error(f"job {row.id} has not ended after {asked.timeout_s:g} s; it goes on")
            return exits.FAILED
        return told(invocation.output, ended)

    return run_async(act)


def cancel(invocation: Invocation, asked: OneJob) -> int | None:
    """Cancel a job: at once when it waits; a running one is asked to stop."""
    from runtime.cli.desk import found, the_desk

    async def act() -> None:
        async with the_desk(invocation.settings) as desk:
            row = await found(desk, asked.id)
            state = await desk.cancel(row.id)
        said = "was asked to stop" if state is JobState.RUNNING else "is cancelled"
        invocation.output.say(f"job {row.id} {said}", id=row.id, state=state)

    return run_async(act)


def retry(invocation: Invocation, asked: OneJob) -> int | None:
    """Queue a failed or cancelled job again, from its checkpoint; a running worker takes it."""
    from runtime.cli.desk import found, the_desk

    async def act() -> None:
        async with the_desk(invocation.settings) as desk:
            row = await found(desk, asked.id)
            await desk.retry(row.id)
        invocation.output.say(f"job {row.id} is queued again", id=row.id, state=JobState.QUEUED)

    return run_async(act)


async def _ended(invocation: Invocation, desk: Desk, row: JobRow, timeout_s: float) -> JobRow | None:
    """The job once it has ended; None when the time was up before."""
    from runtime.cli.progress import AboveTheBar, following
    from runtime.wiring import Adapters

    adapters = Adapters(invocation.settings)
    log, clock = adapters.log, adapters.clock
    above = AboveTheBar.on_stderr()
    with following(
        row.address,
        above=above,
        as_json=invocation.output.as_json,
        otherwise=lambda now: log.info("progress", job=row.id, rows=now.rows, bytes=now.bytes, said=now.message),
    ) as bar:
        try:
            async with clock.timeout(timeout_s):
                while not row.state.final:
                    if row.progress:
                        bar(row.progress)
                    await clock.sleep(POLL_S)
                    fresh = await desk.get(row.id)
                    if fresh is None:
                        raise NotFound(f"job {row.id} is gone: its retention is over")
                    row = fresh
        except TimeoutError:
            return None
    return row


def _line(row: JobRow) -> dict[str, object]:
    line: dict[str, object] = {name: getattr(row, name) for name in COLUMNS}
    error = (row.error or "").partition("\n")[0]
    line["error"] = error if len(error) <= _ERROR_SHOWN else error[: _ERROR_SHOWN - 1] + "…"
    line["state"] = row.state.value
    return line
