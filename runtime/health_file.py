"""The health of a job process, as a file: what a service answers over HTTP, for orchestrators that look at files.

    .millrace/health/4711.json   (another place by HEALTH_FILE)

The file is there while the process lives and is gone after a clean end. One that stays was left by a process that was
killed: it tells where that one was, and the next process in the same place takes it away.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from contracts.job import Progress
from runtime.policy.drain import Phase
from runtime.readiness import Checked, Readiness

if TYPE_CHECKING:
    from runtime.worker import Worker

EVERY_S = 1.0


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """What the file says. `since` is when `phase` began; when `updated_at` is old, the process hangs or was killed.
    `status` is `ok` while the process runs and every check is well, `degraded` while only some of its routes wait for
    something, else `unavailable`."""

    status: str
    phase: str
    since: datetime
    updated_at: datetime
    pid: int
    host: str
    modules: tuple[str, ...]
    checks: dict[str, Checked]
    job_id: str | None = None
    progress: Progress | None = None


class HealthFile:
    """Keeps the file of one process. A file that can't be written is told once, and never ends the job."""

    def __init__(self, worker: Worker, job_id: str | None = None) -> None:
        self._worker = worker
        self._job_id = job_id
        self._readiness = Readiness(worker)
        self._phase: Phase | None = None
        self._since = worker.clock.now()
        self._progress: Progress | None = None
        self._told = False
        self._over = False
        chosen = worker.settings.health_file
        self._shared = chosen is None
        self.path: Path = chosen or worker.settings.millrace_home / "health" / f"{os.getpid()}.json"

    async def run(self) -> None:
        """The loop: written anew every second until it is cancelled; then the file is gone."""
        if self._shared:
            await asyncio.to_thread(_clear_dead, self.path.parent)
        try:
            while True:
                await self._keep()
                await self._worker.clock.sleep(EVERY_S)
        finally:
            self._over = True
            _remove(self.path)

    async def _keep(self) -> None:
        health = await self._health()
        try:
            await asyncio.to_thread(self._write, msgspec.json.encode(health))
        except OSError as error:
            if not self._told:
                self._told = True
                self._worker.log.warn("the health file can't be written", path=str(self.path), error=str(error))

    def _write(self, content: bytes) -> None:
        """Whole or not at all: a reader never sees a part."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        draft.write_bytes(content)
        os.replace(draft, self.path)
        if self._over:
            # The loop was cancelled while this thread wrote, and looked for the file before it was there.
            _remove(self.path)

    async def _health(self) -> Health:
        report = await self._readiness.report()
        now = self._worker.clock.now()
        phase = self._worker.supervisor.phase
        if phase is not self._phase:
            self._phase, self._since = phase, now
        run = self._worker.dispatcher.runs.get(self._job_id or "")
        self._progress = run.handle.latest if run and run.handle.latest else self._progress
        return Health(
            status=report.status,
            phase=phase.name.lower(),
            since=self._since,
            updated_at=now,
            pid=os.getpid(),
            host=socket.gethostname(),
            modules=tuple(module.name for module in self._worker.modules),
            checks=report.checks,
            job_id=self._job_id,
            progress=self._progress,
        )


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _clear_dead(directory: Path) -> None:
    """Take away what processes of this machine left that are dead. Another machine's are its own business: the
    directory may be shared, and a process there can't be seen from here."""
    for path in directory.glob("[0-9]*.json"):
        try:
            left = msgspec.json.decode(path.read_bytes(), type=Health)
            if left.host == socket.gethostname() and not _lives(left.pid):
                _remove(path)
        except (OSError, msgspec.MsgspecError):
            continue


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
