"""`millrace workers`: who holds what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from contracts.errors import NotFound, Unavailable
from runtime.cli.command import Options, command, run_async
from runtime.cli.invocation import Invocation

if TYPE_CHECKING:
    from runtime.cli.remote import Remote
    from runtime.fleet import Fleet, HeldJob, HeldPartition
    from runtime.settings import Settings

_WORKERS = ("id", "host", "pid", "version", "modules", "partitions", "jobs", "lag", "since")
_PARTITIONS = ("group", "address", "index", "lag", "open", "parked", "since", "worker")
_JOBS = ("id", "address", "attempt", "since", "worker")


def add(app: typer.Typer) -> None:
    """Add `workers`."""
    command(app, "workers", Options, workers, examples="millrace workers\nmillrace workers --output json")


def workers(invocation: Invocation, _asked: Options) -> int | None:
    """List the living workers with the partitions and jobs that each holds, and what nobody holds."""

    async def act() -> None:
        _tell(invocation, await _fleet(invocation.settings))

    return run_async(act)


async def _fleet(settings: Settings) -> Fleet:
    from runtime.cli.desk import worker_instead
    from runtime.cli.ledger_access import the_ledger
    from runtime.fleet import fleet_of

    try:
        async with the_ledger(settings) as adapters:
            return await fleet_of(adapters.ledger)
    except (NotFound, Unavailable) as error:
        return await told_by(await worker_instead(settings, error))


async def told_by(worker: Remote) -> Fleet:
    """The same, as a worker has it."""
    from contracts.job import JobState
    from contracts.ports.ledger import JobFilter
    from runtime.fleet import JOBS_SHOWN, Fleet, FleetWorker, HeldJob, HeldPartition

    living = await worker.ask("GET", "/workers", tuple[FleetWorker, ...])
    known = await worker.ask("GET", "/partitions", tuple[HeldPartition, ...])
    running = await worker.list(JobFilter(states=(JobState.RUNNING,), limit=JOBS_SHOWN))
    ids = {one.id for one in living}
    return Fleet(
        workers=living,
        unheld=tuple(one for one in known if one.worker_id not in ids),
        orphans=tuple(HeldJob.of(row) for row in running if row.worker_id not in ids),
    )


def _tell(invocation: Invocation, fleet: Fleet) -> None:
    output = invocation.output
    if output.as_json:
        output.value(fleet)
        return
    lines = [
        {
            "id": one.id,
            "host": one.host,
            "pid": str(one.pid),
            "version": one.version or "unknown",
            "modules": one.modules,
            "partitions": len(one.partitions),
            "jobs": one.running,
            "lag": sum(held.lag for held in one.partitions),
            "since": one.started_at,
        }
        for one in fleet.workers
    ]
    output.rows(lines, columns=_WORKERS, none="no worker is running")
    held = [one for worker in fleet.workers for one in worker.partitions]
    if held:
        output.rows(_partitions(held), columns=_PARTITIONS, title="\npartitions")
    if jobs := [one for worker in fleet.workers for one in worker.jobs]:
        output.rows(_jobs(jobs), columns=_JOBS, title="\njobs")
    if fleet.unheld:
        output.rows(_partitions(fleet.unheld), columns=_PARTITIONS, title="\npartitions that nobody holds")
    if fleet.orphans:
        output.rows(_jobs(fleet.orphans), columns=_JOBS, title="\njobs whose worker is gone")


def _partitions(some: list[HeldPartition] | tuple[HeldPartition, ...]) -> list[dict[str, object]]:
    lines = [{name: getattr(one, name, None) for name in _PARTITIONS} | {"worker": one.worker_id} for one in some]
    return sorted(lines, key=lambda line: (line["group"], line["address"], line["index"]))


def _jobs(some: list[HeldJob] | tuple[HeldJob, ...]) -> list[dict[str, object]]:
    return [{name: getattr(one, name, None) for name in _JOBS} | {"worker": one.worker_id} for one in some]
