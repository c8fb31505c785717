"""The product as its users start it: processes of its own, told by environment, spoken to by HTTP and signals."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import httpx
import msgspec

from runtime.settings_sources import NOT_SETTINGS, PREFIXES
from tests.kit.waiting import until

BIN = Path(sys.executable).parent
ROOT = Path(__file__).resolve().parent.parent.parent
WAIT_S = 30.0


def environment(directory: Path, url: str, **more: str) -> dict[str, str]:
    """What a process of a test is told, and none of what the tester's own shell says."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(PREFIXES)}
    for key in ("MODULES", "PYTHONPATH", "COLUMNS", *NOT_SETTINGS):
        kept.pop(key, None)
    return {
        **kept,
        "MILLRACE_HOME": str(directory / "home"),
        "DB_POSTGRES_URL": url,
        "HTTP_PORT": "0",
        "WORKER_LEASE_S": "2",
        "PYTHONPATH": str(directory / "on_the_path"),
        "NO_COLOR": "1",
        **more,
    }


def millrace(
    environ: Mapping[str, str], *argv: str, stdin: str = "", timeout_s: float = WAIT_S
) -> subprocess.CompletedProcess[str]:
    """A command line, to its end."""
    return subprocess.run(
        [str(BIN / "millrace"), *argv],
        env=dict(environ),
        cwd=environ["MILLRACE_HOME"].rpartition("/")[0],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


class Process:
    """One that runs, with what it has written to standard error so far."""

    def __init__(self, process: subprocess.Popen[bytes], errors: Path, out: Path) -> None:
        self._process = process
        self._errors = errors
        self._out = out

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def err(self) -> str:
        return self._errors.read_text()

    @property
    def out(self) -> str:
        return self._out.read_text()

    def lines(self) -> list[dict[str, Any]]:
        """What it logged."""
        return [msgspec.json.decode(line) for line in self.err.splitlines() if line.startswith("{")]

    def messages(self) -> list[str]:
        return [line["message"] for line in self.lines()]

    def signal(self, signum: signal.Signals = signal.SIGTERM) -> None:
        self._process.send_signal(signum)

    async def logged(self, message: str, *, timeout_s: float = WAIT_S) -> dict[str, Any]:
        """The first line with this message, once it is there."""

        def there() -> bool:
            assert self._process.poll() is None or message in self.messages(), f"it has ended: {self.err}"
            return message in self.messages()

        await until(there, timeout_s=timeout_s, what=f"the log line {message!r}")
        return next(line for line in self.lines() if line["message"] == message)

    async def ended(self, *, timeout_s: float = WAIT_S) -> int:
        """The exit code."""
        await until(lambda: self._process.poll() is not None, timeout_s=timeout_s, what="the end of the process")
        return int(self._process.returncode)

    def drain_report(self) -> dict[str, Any]:
        """The last line that it logged."""
        last = self.lines()[-1]
        assert last["message"] == "drain report", last
        return dict(last["context"])


@contextmanager
def started(directory: Path, environ: Mapping[str, str], *command: str) -> Iterator[Process]:
    """A process that is killed at the end of the block, if it still lives then."""
    number = len(list(directory.glob("*.err")))
    errors, out = directory / f"{number}.err", directory / f"{number}.out"
    with errors.open("wb") as err_file, out.open("wb") as out_file:
        process = subprocess.Popen(
            command, env=dict(environ), cwd=directory, stdin=subprocess.DEVNULL, stdout=out_file, stderr=err_file
        )
    try:
        yield Process(process, errors, out)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


class Terminal:
    """A process on a terminal, and what stood on it."""

    def __init__(self, process: subprocess.Popen[bytes], ours: int) -> None:
        self._process = process
        self._ours = ours
        self.text = ""

    def read_until(self, text: str | None = None) -> None:
        """Until `text` stands there; without it, until the process has closed the terminal."""
        ends_at = perf_counter() + WAIT_S
        while text is None or text not in self.text:
            assert perf_counter() < ends_at, f"{text!r} never stood there: {self.text}"
            if not select.select([self._ours], [], [], 0.5)[0]:
                continue
            try:
                read = os.read(self._ours, 65536)
            except OSError:  # how a closed terminal reads on Linux
                read = b""
            if not read:
                assert text is None, f"{text!r} never stood there: {self.text}"
                return
            self.text += read.decode(errors="replace")

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def ended(self) -> int:
        """The exit code."""
        self.read_until()
        return self._process.wait(timeout=WAIT_S)


@contextmanager
def on_a_terminal(directory: Path, environ: Mapping[str, str], *command: str) -> Iterator[Terminal]:
    """A process whose input and outputs are all a terminal."""
    ours, its = pty.openpty()
    told = {**environ, "TERM": "xterm", "COLUMNS": "160"}
    process = subprocess.Popen(
        command, env=told, cwd=directory, stdin=its, stdout=its, stderr=its, start_new_session=True
    )
    os.close(its)
    try:
        yield Terminal(process, ours)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(ours)


class Worker(Process):
    """A worker that takes work, and a client of its HTTP."""

    client: httpx.AsyncClient
    summary: Mapping[str, Any]

    async def post(self, address: str, body: object, *, message_id: str | None = None) -> dict[str, Any]:
        headers = {"Idempotency-Key": message_id} if message_id else {}
        answer = await self.client.post(f"/commands/{address}", json=body, headers=headers)
        assert answer.status_code == 202, answer.text
        return dict(answer.json())

    async def job(self, job_id: str) -> dict[str, Any]:
        return dict((await self.client.get(f"/jobs/{job_id}")).json())

    async def job_is(self, job_id: str, *states: str) -> dict[str, Any]:
        async def holds() -> bool:
            return (await self.job(job_id))["state"] in states

        await until(holds, timeout_s=WAIT_S, what=f"job {job_id} in {states}")
        return await self.job(job_id)


@asynccontextmanager
async def worker(directory: Path, environ: Mapping[str, str], *, timeout_s: float = WAIT_S) -> AsyncIterator[Worker]:
    """`faststream run runtime.app:app`, once it takes work; where its HTTP answers is told by its start-up line."""
    with started(directory, environ, str(BIN / "faststream"), "run", "runtime.app:app") as process:
        process.__class__ = Worker
        assert isinstance(process, Worker)
        process.summary = (await process.logged("started", timeout_s=timeout_s))["context"]
        async with httpx.AsyncClient(base_url=process.summary["http"], timeout=10) as client:
            process.client = client
            yield process
