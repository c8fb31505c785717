"""A worker that sends itself a signal at a named step: `python -m tests.kit.doomed_worker --die-at settle:before …`.

It is the worker that ships, with its ledger and database wrapped: nothing in production knows of this. Its module has
one job, `run.steps`, which adds one row for each step and saves its checkpoint in the same transaction; a step done
twice would leave a row too many, and one lost a row too few.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from contracts.job import Job
from contracts.message import Contract
from contracts.module import Module, Retry
from contracts.ports import Db, Ledger
from runtime import commands, process, settings
from runtime.wiring import Adapters
from runtime.worker import Worker
from tests.kit.faults import Faults, Kill
from tests.kit.waiting import until

POINTS = (
    "record:before",
    "record:after",
    "claim:after",
    "commit:before",
    "commit:after",
    "settle:before",
    "settle:after",
)
"""Where it can die; `commit` is the second step's, so that a checkpoint is there."""

module = Module("steps", kind="job", summary="Adds one row for each step, exactly once.")


class RunSteps(Contract, frozen=True):
    steps: int


@module.job("run.steps", RunSteps, retry=Retry(attempts=3, first_s=0.05), timeout_s=60, concurrency=2)
async def run(cmd: RunSteps, job: Job, db: Db) -> int:
    done = job.saved(int) or 0
    for step in range(done, cmd.steps):
        async with db.transaction() as tx:
            await tx.execute("insert into steps (job, step) values ($1, $2)", job.id, step)
            await job.checkpoint(step + 1, tx=tx)
            if step == 1:
                await faults.reach("commit:before")
        if step == 1:
            await faults.reach("commit:after")
        await job.checkpoint(step + 1)
    return cmd.steps


faults = Faults()


def arm(point: str, kind: signal.Signals) -> None:
    """The signal, once, at the chosen point; `after` counts only what had an effect (a claim of nothing has none)."""
    step, _, moment = point.partition(":")
    if step == "commit":
        faults.at(point, Kill(signal=kind))
    else:
        after = moment == "after"
        faults.at(f"queue.{step}", Kill(signal=kind), after=after, if_any=after)


def chosen(url: str, directory: Path, **more: str) -> settings.Settings:
    """Settings for a test's worker: its own database, a short lease, no files of the user's."""
    environ = {
        "DB_POSTGRES_URL": url,
        "MILLRACE_LOG": "json",
        "MILLRACE_HOME": str(directory / ".millrace"),
        "WORKER_LEASE_S": "1.5",
        "DRAIN_TIMEOUT_S": "5",
        **more,
    }
    return settings.load(overrides={}, environ=environ, directory=directory)


class DoomedAdapters(Adapters):
    """The adapters that ship, with every point of the ledger's queue armed."""

    @cached_property
    def ledger(self) -> Ledger:
        ledger: Any = super().ledger
        ledger.queue = faults.around(ledger.queue, "queue")
        return cast(Ledger, ledger)


async def main(arguments: argparse.Namespace) -> int:
    """Publish `--jobs` commands and work until all jobs of the ledger have ended, or SIGTERM came."""
    settings = chosen(arguments.url, Path(arguments.directory))
    worker = Worker(settings, [module], adapters=DoomedAdapters(settings))
    process.listen_for_signals(worker)
    await worker.start()
    stopping = worker.supervisor.stopping
    for number in range(arguments.jobs):
        if stopping.is_set():
            break
        envelope = commands.envelope(
            "run.steps", RunSteps(steps=arguments.steps), contract=RunSteps, clock=worker.clock, id=f"job-{number}"
        )
        await worker.submit(envelope)
        print(f"accepted {envelope.id}", flush=True)

    async def all_ended() -> bool:
        return stopping.is_set() or all(state.final for _, state in await worker.adapters.ledger.desk.counts())

    await until(all_ended, timeout_s=25)
    return process.exit_code(worker, await worker.stop())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--directory", required=True)
    parser.add_argument("--jobs", type=int, default=0)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--die-at", choices=POINTS)
    parser.add_argument("--signal", choices=("SIGKILL", "SIGTERM"), default="SIGKILL")
    given = parser.parse_args()
    if given.die_at:
        arm(given.die_at, signal.Signals[given.signal])
    raise SystemExit(asyncio.run(main(given)))
