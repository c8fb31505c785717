"""`faststream run runtime.app:app`: a worker as a FastStream application."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from faststream import FastStream

from contracts.errors import Faults, MillraceError
from runtime import asyncapi, exits, settings
from runtime.process import exit_code, listen_for_signals
from runtime.worker import Worker, load, run_until_stopped


class MillraceApp(FastStream):
    """FastStream's application with our supervisor in place of its shutdown: it drains, and its exit code tells."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        super().__init__(worker.adapters.bus.broker, logger=None, specification=asyncapi.specification())

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
        except MillraceError as error:
            self.worker.log.error("the worker did not start", error=str(error))
            raise SystemExit(exits.FAILED) from None
        except Exception:  # the outermost frame of the process: its log is where people look
            self.worker.log.exception("the worker broke")
            raise SystemExit(exits.FAILED) from None
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


def refuse(error: Faults) -> NoReturn:
    """Say what is wrong, without a traceback, and end."""
    sys.stderr.write(f"{error}\n")
    raise SystemExit(exits.WRONG)


def build() -> MillraceApp:
    """The application that the environment asks for."""
    try:
        chosen = settings.load(overrides={}, environ=os.environ, directory=Path.cwd())
        worker = load(chosen)
        from runtime.http.server import HttpServer

        worker.http = HttpServer(worker)
        return MillraceApp(worker)
    except Faults as error:
        refuse(error)


app = build()
