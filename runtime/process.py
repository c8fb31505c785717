"""A worker as a process: the signals that it hears and the exit code that it ends with."""

from __future__ import annotations

import asyncio
import signal

from runtime import exits
from runtime.supervisor import DrainReport
from runtime.worker import Worker


def listen_for_signals(worker: Worker) -> None:
    """The first SIGTERM or SIGINT drains, the second one cuts. Call it inside the event loop."""
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, worker.supervisor.stop, signum.name)


def exit_code(worker: Worker, report: DrainReport) -> int:
    """0 only when nothing was cut and nothing broke."""
    if worker.supervisor.failed:
        return exits.FAILED
    return exits.DONE if report.clean else exits.CUT
