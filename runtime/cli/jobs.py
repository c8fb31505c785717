"""`millrace jobs`: what the ledger knows of jobs."""

from __future__ import annotations

from typing import Annotated

import typer

from contracts.errors import BadInput, NotFound
from contracts.job import JobRow, JobState
from contracts.ports import Ledger
from contracts.ports.ledger import JobFilter
from runtime import exits
from runtime.cli.ledger_access import the_ledger
from runtime.cli.options import Invocation, command, run_async

COLUMNS = ("id", "address", "state", "attempt", "priority", "recorded_at", "finished_at", "error")
POLL_S = 0.25

JobId = Annotated[str, typer.Argument(metavar="ID", help="The job's id, or a beginning of it that is unique.")]


def add(app: typer.Typer) -> None:
    """Add `jobs list`, `show`, `wait`, `cancel` and `retry`."""
    group = typer.Typer(help="List, watch, cancel and retry jobs.", no_args_is_help=True)
    app.add_typer(group, name="jobs")
    command(group, "list", examples="millrace jobs list --state failed --limit 20")(list_)
    command(group, "show", examples="millrace jobs show 0199c0de")(show)
    command(group, "wait", examples="millrace jobs wait 0199c0de --timeout-s 600")(wait)
    command(group, "cancel", examples="millrace jobs cancel 0199c0de")(cancel)
    command(group, "retry", examples="millrace jobs retry 0199c0de")(retry)


def list_(
    invocation: Invocation,
    state: Annotated[list[str] | None, typer.Option(help="Only these states; can be repeated.")] = None,
    address: Annotated[str | None, typer.Option(help="Only jobs of this address.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most this many, newest first.")] = 50,
) -> int | None:
    """List jobs, newest first."""
    unknown = sorted(set(state or ()) - set(JobState))
    if unknown:
        raise BadInput(f"--state {', '.join(unknown)}: it can be {', '.join(JobState)}")
    wanted = JobFilter(states=tuple(JobState(one) for one in state or ()), address=address, limit=limit)

    async def act() -> None:
        async with the_ledger(invocation.settings()) as adapters:
            rows = await adapters.ledger.desk.list(wanted)
        invocation.output.rows(rows, columns=() if invocation.output.as_json else COLUMNS)

    return run_async(act)


def show(invocation: Invocation, job_id: JobId) -> int | None:
    """Show one job: its command, progress, checkpoint, result and error."""

    async def act() -> None:
        async with the_ledger(invocation.settings()) as adapters:
            invocation.output.value(await found(adapters.ledger, job_id))

    return run_async(act)


def wait(
    invocation: Invocation,
    job_id: JobId,
    timeout_s: Annotated[float, typer.Option(min=0, help="Give up after this long.")] = 3600.0,
) -> int | None:
    """Wait until a job has ended; exit code 0 only when it is done."""

    async def act() -> int:
        async with the_ledger(invocation.settings()) as adapters:
            row = await found(adapters.ledger, job_id)
            try:
                async with adapters.clock.timeout(timeout_s):
                    while not row.state.final:
                        await adapters.clock.sleep(POLL_S)
                        row = await found(adapters.ledger, row.id)
            except TimeoutError:
                invocation.output.error(f"job {row.id} is still {row.state.value} after {timeout_s:g} s")
                return exits.FAILED
        invocation.output.value(row)
        return exits.DONE if row.state is JobState.DONE else exits.FAILED

    return run_async(act)


def cancel(invocation: Invocation, job_id: JobId) -> int | None:
    """Cancel a job: at once when it waits; a running one is asked to stop."""

    async def act() -> None:
        async with the_ledger(invocation.settings()) as adapters:
            row = await found(adapters.ledger, job_id)
            state = await adapters.ledger.desk.cancel(row.id)
        said = "was asked to stop" if state is JobState.RUNNING else "is cancelled"
        _say(invocation, row, said, state)

    return run_async(act)


def retry(invocation: Invocation, job_id: JobId) -> int | None:
    """Queue a failed or cancelled job again, from its checkpoint."""

    async def act() -> None:
        async with the_ledger(invocation.settings()) as adapters:
            row = await found(adapters.ledger, job_id)
            await adapters.ledger.desk.retry(row.id)
        _say(invocation, row, "is queued again", JobState.QUEUED)

    return run_async(act)


async def found(ledger: Ledger, job_id: str) -> JobRow:
    """The job with this id or beginning; raises `NotFound`, or `BadInput` when several begin so."""
    if row := await ledger.desk.get(job_id):
        return row
    matches = [row for row in await ledger.desk.list(JobFilter(limit=1000)) if row.id.startswith(job_id)]
    if len(matches) > 1:
        raise BadInput(f"{len(matches)} jobs begin with {job_id!r}; give more of the id")
    if not matches:
        raise NotFound(f"there is no job {job_id!r}; `millrace jobs list` shows what there is")
    return matches[0]


def _say(invocation: Invocation, row: JobRow, said: str, state: JobState) -> None:
    if invocation.output.as_json:
        invocation.output.value({"id": row.id, "state": state.value})
    else:
        invocation.output.stdout.print(f"job {row.id} {said}")
