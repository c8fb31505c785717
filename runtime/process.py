"""A worker as a process: the signals that it hears, its garbage, and the exit code that it ends with."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

from runtime import exits

if TYPE_CHECKING:
    from runtime.supervisor import DrainReport
    from runtime.worker import Worker

Stop = Callable[[str], None]


class Signals:
    """SIGTERM and SIGINT from now on. What comes before there is someone to stop is kept until there is: a process
    that was asked to end while it still imports ends in an orderly way, too. Make it inside the event loop."""

    def __init__(self) -> None:
        self.kept: list[str] = []
        self._stop: Stop = self.kept.append
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self._heard, signum.name)

    def pass_to(self, stop: Stop) -> None:
        """The first signal drains, the second one cuts."""
        self._stop = stop
        for name in self.kept:
            stop(name)

    def _heard(self, name: str) -> None:
        self._stop(name)


def listen_for_signals(worker: Worker) -> None:
    """The first SIGTERM or SIGINT drains, the second one cuts. Call it inside the event loop."""
    Signals().pass_to(worker.supervisor.stop)


def collect_less_often() -> None:
    """Once it has started: what is there now lives as long as the process, and messages that wait are many and short of
    life. Python's own thresholds have the collector walk over both all the time: 10 to 20 % of a busy stream's."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def exit_code(worker: Worker, report: DrainReport) -> int:
    """0 only when nothing was cut and nothing broke."""
    if worker.supervisor.failed:
        return exits.FAILED
    return exits.DONE if report.clean else exits.CUT
