"""`faststream run runtime.app:app`: a worker as a FastStream application."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

from faststream import FastStream

from contracts.errors import Faults
from runtime import registry, settings
from runtime.supervisor import DrainReport
from runtime.worker import Worker, run_until_stopped

EXIT_DONE, EXIT_FAILED, EXIT_WRONG, EXIT_CUT = 0, 1, 2, 3


class MillraceApp(FastStream):
    """FastStream's application with our supervisor in place of its shutdown: it drains, and its exit code tells."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        super().__init__(worker.adapters.bus.broker, logger=None)

    async def run(
        self, log_level: int = logging.INFO, run_extra_options: dict[str, Any] | None = None, sleep_time: float = 0.1
    ) -> None:
        """Runs until SIGTERM or SIGINT; a second one cuts. Raises `SystemExit` when anything was cut or failed."""
        listen_for_signals(self.worker)
        async with self.lifespan_context(**(run_extra_options or {})), self._start_hooks_context():
            pass
        try:
            report = await run_until_stopped(self.worker)
        except Faults as error:
            refuse(error)
        async with self._shutdown_hooks_context():
            pass
        if code := exit_code(self.worker, report):
            raise SystemExit(code)

    def exit(self) -> None:
        self.worker.supervisor.stop("the application was asked to exit")

    async def start(self, **run_extra_options: Any) -> None:
        async with self._start_hooks_context(**run_extra_options):
            await self.worker.start()

    async def stop(self) -> None:
        async with self._shutdown_hooks_context():
            await self.worker.stop()


def listen_for_signals(worker: Worker) -> None:
    """The first SIGTERM or SIGINT drains, the second one cuts."""
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, worker.supervisor.stop, signum.name)


def exit_code(worker: Worker, report: DrainReport) -> int:
    """0 only when nothing was cut and nothing broke."""
    if worker.supervisor.failed:
        return EXIT_FAILED
    return EXIT_DONE if report.clean else EXIT_CUT


def refuse(error: Faults) -> None:
    """Say what is wrong, without a traceback, and end."""
    print(error, file=sys.stderr)
    raise SystemExit(EXIT_WRONG)


def build() -> MillraceApp:
    """The application that the environment asks for."""
    try:
        chosen = settings.load(overrides={}, environ=os.environ, directory=Path.cwd())
        worker = Worker(chosen, registry.load(chosen.modules))
        from runtime.http.server import HttpServer

        worker.http = HttpServer(worker)
        return MillraceApp(worker)
    except Faults as error:
        refuse(error)
        raise


app = build()
