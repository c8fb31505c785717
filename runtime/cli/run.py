"""`millrace run MODULE`: publish its command, run a worker here when the bus is in memory, and follow the job."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from contracts.errors import BadInput, Faults
from contracts.job import JobRow, JobState
from contracts.module import JobRoute, Module
from runtime import exits
from runtime.cli.options import Invocation, run_async

if TYPE_CHECKING:
    import msgspec

    from runtime.settings import Settings
    from runtime.worker import Worker

LOOK_EVERY_S = 0.1


def job(module: Module, route: JobRoute, invocation: Invocation, given: dict[str, Any]) -> int | None:
    """Run one job to its end. Arguments and settings are checked together, before anything is started."""
    settings, command = _checked(route, invocation, given)
    return run_async(lambda: _run_job(module, route, invocation, settings, command))


def service(invocation: Invocation, module: str) -> int | None:
    """Run a module until it is stopped by a signal."""
    from runtime.http.server import HttpServer
    from runtime.process import exit_code, listen_for_signals
    from runtime.worker import load, run_until_stopped

    invocation.overrides["modules"] = (module,)
    settings = invocation.settings()

    async def act() -> int:
        worker = load(settings)
        worker.http = HttpServer(worker)
        listen_for_signals(worker)
        return exit_code(worker, await run_until_stopped(worker))

    return run_async(act)


def _checked(route: JobRoute, invocation: Invocation, given: dict[str, Any]) -> tuple[Settings, msgspec.Struct]:
    from runtime import arguments, wiring

    faults: list[str] = []
    settings = command = None
    try:
        settings = invocation.settings()
        wiring.check_choices(settings)
    except Faults as error:
        faults.extend(error.faults)
    try:
        command = arguments.from_mapping(route.contract, given, strict=False)
    except BadInput as error:
        faults.extend(f"--{fault.replace('_', '-', 1) if ':' in fault else fault}" for fault in error.faults)
    if faults or settings is None or command is None:
        raise Faults("arguments and settings", faults)
    return settings, command


async def _run_job(
    module: Module, route: JobRoute, invocation: Invocation, settings: Settings, command: msgspec.Struct
) -> int:
    from runtime import commands
    from runtime.health_file import HealthFile
    from runtime.process import listen_for_signals
    from runtime.wiring import Adapters
    from runtime.worker import Worker

    adapters = Adapters(settings)
    envelope = commands.envelope(route.address, command, contract=route.contract, clock=adapters.clock)
    worker = Worker(settings, [module], adapters=adapters, only=[envelope.id])
    listen_for_signals(worker)
    await worker.start()
    worker.loops.start("health file", HealthFile(worker, envelope.id).run)
    try:
        recorded = await worker.submit(envelope)
        followed = recorded.active_id if recorded and recorded.active_id else envelope.id
        row = await _follow(worker, invocation, followed, route)
    finally:
        worker.supervisor.stop("the job has ended")
        report = await worker.stop()
    if not row.state.final:
        invocation.output.error(
            f"job {row.id} was cut short and handed back: the next worker goes on with it; see `millrace jobs show`"
        )
        return exits.CUT
    return _tell(invocation, row) if report.clean or row.state is not JobState.DONE else exits.CUT


async def _follow(worker: Worker, invocation: Invocation, job_id: str, route: JobRoute) -> JobRow:
    """Until the job has ended, or the process is asked to stop."""
    from runtime.cli.progress import ProgressBar

    desk = worker.adapters.ledger.desk
    with ProgressBar(invocation.output, route.address) as bar:
        while True:
            run = worker.dispatcher.runs.get(job_id)
            if run and run.handle.latest:
                bar.show(run.handle.latest)
            if run is None or worker.supervisor.stopping.is_set():
                row = await desk.get(job_id)
                assert row is not None
                if row.progress:
                    bar.show(row.progress)
                if row.state.final or worker.supervisor.stopping.is_set():
                    return row
            await _either(run.task if run else None, worker.supervisor.stopping, LOOK_EVERY_S)


async def _either(task: asyncio.Task[Any] | None, stopping: asyncio.Event, timeout_s: float) -> None:
    """Returns when the run ended, the process is to stop, or it is time to look again."""
    async with asyncio.TaskGroup() as group:
        stop = group.create_task(stopping.wait())
        await asyncio.wait([stop, *([task] if task else [])], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()


def _tell(invocation: Invocation, row: JobRow) -> int:
    output = invocation.output
    if output.as_json:
        output.value(row)
    elif row.state is JobState.DONE:
        output.value(
            row.result if isinstance(row.result, dict) else {"result": row.result}, title=f"job {row.id} is done"
        )
    else:
        output.error(f"job {row.id} {row.state.value} at attempt {row.attempt}: {row.error or 'no reason given'}")
    return exits.DONE if row.state in (JobState.DONE, JobState.SKIPPED) else exits.FAILED
