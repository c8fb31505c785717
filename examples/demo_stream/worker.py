"""A worker in a process of its own, started and ended as anybody would: by environment, its log and a signal."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from contracts.errors import MillraceError
from contracts.ports import Clock

START_WAIT_S = 90.0
"""The first start makes a database."""
END_WAIT_S = 45.0
_CATALOG = Path(__file__).with_name("catalog")
_FASTSTREAM = Path(sys.executable).with_name("faststream")
_LINE_BYTES = 1 << 20
_LAST_LINES = 20

Tell = Callable[[str], None]


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """What the worker is told: both modules on what is declared beside this file, in memory, on a free port."""
    return {
        **given,
        "MODULES": "stream_ingest,metric_aggregator",
        "CATALOG_DIR": str(_CATALOG),
        "MILLRACE_MQ": "memory",
        "MILLRACE_METRICS": "prometheus",
        "MILLRACE_LOG": "json",
        "LOG_LEVEL": "info",
        "HTTP_HOST": "127.0.0.1",
        "HTTP_PORT": "0",
    }


class Worker:
    """One that takes work, at `url`. `exit_code` is there after the block of `started`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.url = ""
        self.exit_code: int | None = None
        self._process = process
        self._last: list[str] = []

    async def until_it_takes_work(self, tell: Tell) -> None:
        """Raises `MillraceError` with what the worker said when it ends instead."""
        while (line := await self._line()) is not None:
            said = _decoded(line, tell)
            if said.get("message") == "started":
                self.url = said["context"]["http"]
                return
        raise MillraceError("the worker did not start:\n" + "\n".join(self._last))

    async def listen(self, tell: Tell) -> None:
        """Tells of warnings and errors, until the worker ends."""
        while (line := await self._line()) is not None:
            _decoded(line, tell)

    async def end(self, clock: Clock) -> None:
        """Drains it: what it holds is finished first. It is killed where that takes too long."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            async with clock.timeout(END_WAIT_S):
                self.exit_code = await self._process.wait()
        except TimeoutError:
            raise MillraceError(f"the worker did not end within {END_WAIT_S:g} s, and was killed") from None
        finally:
            if self._process.returncode is None:
                self._process.kill()

    async def _line(self) -> str | None:
        assert self._process.stderr is not None
        line = (await self._process.stderr.readline()).decode(errors="replace").rstrip()
        if not line and self._process.stderr.at_eof():
            return None
        self._last = [*self._last[1 - _LAST_LINES :], line]
        return line


@asynccontextmanager
async def started(environ: Mapping[str, str], clock: Clock, tell: Tell) -> AsyncIterator[Worker]:
    """A worker from when it takes work; it is drained at the end of the block. Ctrl-C at the terminal is not for it: it
    must outlive whoever still sends to it."""
    process = await asyncio.create_subprocess_exec(
        *(str(_FASTSTREAM), "run", "runtime.app:app"),
        env=dict(environ),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        limit=_LINE_BYTES,
        start_new_session=True,
    )
    worker = Worker(process)
    try:
        try:
            async with clock.timeout(START_WAIT_S):
                await worker.until_it_takes_work(tell)
        except TimeoutError:
            raise MillraceError(f"the worker did not start within {START_WAIT_S:g} s") from None
        async with asyncio.TaskGroup() as group:
            group.create_task(worker.listen(tell))
            try:
                yield worker
            finally:
                await worker.end(clock)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _decoded(line: str, tell: Tell) -> dict[str, Any]:
    try:
        said: dict[str, Any] = msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.MsgspecError:
        return {}
    if str(said.get("level")).lower() in ("warn", "warning", "error", "critical"):
        tell(f"worker: {in_a_line(said)}")
    return said


def in_a_line(said: Mapping[str, Any]) -> str:
    """A line of its log without what takes lines of its own, such as the stack of what blocked."""
    about: dict[str, Any] = said.get("context") or {}
    return " ".join(
        [str(said.get("message")), *(f"{key}={value}" for key, value in about.items() if "\n" not in str(value))]
    )
