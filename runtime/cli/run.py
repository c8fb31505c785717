"""`millrace run MODULE`: publish its command, run a worker here when the bus is in memory, and follow the job."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, TextIO, cast

from contracts.job import JobRow, Progress
from contracts.module import JobRoute, Module
from runtime import exits
from runtime.cli.command import run_async
from runtime.cli.invocation import Invocation

if TYPE_CHECKING:
    import msgspec

    from contracts.message import Envelope
    from runtime.cli.progress import AboveTheBar, Say
    from runtime.settings import Settings
    from runtime.supervisor import DrainReport
    from runtime.worker import Worker

LOOK_EVERY_S = 0.1
RECORD_WAIT_S = 60.0
"""For a command that the bus has; then this process ends, and it is done by who records it."""


def job(module: Module, route: JobRoute, invocation: Invocation, command: msgspec.Struct) -> int | None:
    """Run one job to its end, and print how it ended."""
    settings = _for_a_job(invocation.settings)
    return run_async(lambda: _run_job(module, route, invocation, settings, command))


def service(module: Module, invocation: Invocation, asked: msgspec.Struct) -> int | None:
    """Run a module until it is stopped by a signal."""
    from runtime.process import Signals, exit_code

    async def act() -> int:
        signals = Signals()
        from runtime.http.server import HttpServer
        from runtime.worker import Worker, run_until_stopped

        worker = Worker(invocation.settings, [module], arguments={module.name: asked} if module.arguments else {})
        worker.http = HttpServer(worker)
        signals.pass_to(worker.supervisor.stop)
        return exit_code(worker, await run_until_stopped(worker))

    return run_async(act)


def _for_a_job(settings: Settings) -> Settings:
    """What differs where nothing else is said: a person at a terminal sees the bar and the report, so that only
    warnings are logged; and nobody can ask this process for its metrics, so that none are kept."""
    chosen = {one.key for one in settings.explain() if one.source != "default"}
    defaults = {"metrics": "noop"} if "MILLRACE_METRICS" not in chosen else {}
    if sys.stderr.isatty() and "LOG_LEVEL" not in chosen:
        defaults["log_level"] = "warn"
    return settings.model_copy(update=defaults)


async def _run_job(
    module: Module, route: JobRoute, invocation: Invocation, settings: Settings, command: msgspec.Struct
) -> int:
    from runtime.process import Signals

    signals = Signals()
    from runtime import commands
    from runtime.cli.progress import AboveTheBar
    from runtime.health_file import HealthFile
    from runtime.wiring import Adapters
    from runtime.worker import Worker

    above = AboveTheBar.on_stderr()
    adapters = Adapters(settings, log_stream=cast(TextIO, above))
    envelope = commands.envelope(route.address, command, contract=route.contract, clock=adapters.clock)
    worker = Worker(settings, [module], adapters=adapters, only=[envelope.id])
    signals.pass_to(worker.supervisor.stop)
    if worker.supervisor.stopping.is_set():
        return _ended(invocation, None, None, own=True)
    await worker.start()
    worker.loops.start("health file", HealthFile(worker, envelope.id).run)
    last = LastLook(worker, envelope.id)
    try:
        if not worker.supervisor.stopping.is_set():
            last.job_id = await _followed(worker, invocation, envelope, above)
    finally:
        if not worker.supervisor.stopping.is_set():
            worker.supervisor.stop("the job has ended")
        elif worker.dispatcher.runs:
            invocation.output.note(
                f"{worker.supervisor.reason}: the job has up to {settings.drain_timeout_s:g} s to end or to save where "
                "it is; a second one cuts it at once"
            )
        report = await worker.stop()
    return _ended(invocation, last.row, report, own=last.job_id == envelope.id)


class LastLook:
    """The job's row when nothing runs any more, while the ledger is still open."""

    def __init__(self, worker: Worker, job_id: str) -> None:
        self.job_id = job_id
        self.row: JobRow | None = None
        self._worker = worker
        worker.before_closing.append(("last look", self._take))

    async def _take(self) -> None:
        self.row = await self._worker.adapters.ledger.desk.get(self.job_id)


async def _followed(worker: Worker, invocation: Invocation, envelope: Envelope, above: AboveTheBar) -> str:
    """Submit it, and return its id once it has ended or the process is asked to stop; the id is of another job where
    that one kept it from running."""
    from runtime.cli.progress import following

    recorded = await worker.submit(envelope)
    job_id = recorded.active_id if recorded and recorded.active_id else envelope.id
    if job_id != envelope.id:
        invocation.output.note(f"{job_id}, with the same unique key, is active already: this follows it instead")

    def otherwise(now: Progress) -> None:
        worker.log.info("progress", job=job_id, rows=now.rows, bytes=now.bytes, said=now.message)

    with following(envelope.address, above=above, as_json=invocation.output.as_json, otherwise=otherwise) as bar:
        await _watch(worker, job_id, bar)
    return job_id


async def _watch(worker: Worker, job_id: str, bar: Say) -> None:
    """Returns when the job has ended, or the process is to stop. A bus that keeps messages has taken the command; some
    worker, perhaps another one, is about to record it."""
    desk, stopping = worker.adapters.ledger.desk, worker.supervisor.stopping
    recorded, unrecorded_since = False, worker.clock.monotonic()
    while not stopping.is_set():
        run = worker.dispatcher.runs.get(job_id)
        if run and run.handle.latest:
            bar(run.handle.latest)
        if run is None:
            # It waits (for its turn, for its next attempt), runs in another worker, or has ended.
            row = await desk.get(job_id)
            if row and row.progress:
                bar(row.progress)
            recorded = recorded or row is not None
            if row is None and not recorded and worker.clock.monotonic() - unrecorded_since < RECORD_WAIT_S:
                await _either(None, stopping, LOOK_EVERY_S)
                continue
            if row is None or row.state.final:
                return
        await _either(run.task if run else None, stopping, LOOK_EVERY_S)


async def _either(task: asyncio.Task[Any] | None, stopping: asyncio.Event, timeout_s: float) -> None:
    """Returns when the run ended, the process is to stop, or it is time to look again."""
    async with asyncio.TaskGroup() as group:
        stop = group.create_task(stopping.wait())
        await asyncio.wait([stop, *([task] if task else [])], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()


def _ended(invocation: Invocation, row: JobRow | None, report: DrainReport | None, *, own: bool) -> int:
    from runtime.cli.told import told

    output = invocation.output
    for fault in report.faults if report else ():
        output.note(f"while ending: {fault}")
    if row is None:
        output.error("ended before the job was recorded; what the bus has taken is recorded by the next worker")
        return exits.CUT
    if row.state.final:
        return told(output, row)
    if not own:
        output.error(f"interrupted; job {row.id} goes on elsewhere")
    else:
        how = "goes on from its checkpoint" if row.checkpoint is not None else "starts again"
        output.error(
            f"job {row.id} was cut short: it {how} with the next worker (`faststream run runtime.app:app`); "
            f"see `millrace jobs show {row.id}`"
        )
    return exits.CUT
