"""A real worker with its HTTP on a free port, and a small module whose jobs the tests hold in their hands."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import httpx
import msgspec
from msgspec import Meta

from adapters.log.structured import make_log
from contracts.job import Job
from contracts.message import Contract
from contracts.module import Module
from contracts.ports import Db, Log
from runtime import settings
from runtime.http.server import HttpServer
from runtime.policy.drain import Phase
from runtime.wiring import Adapters
from runtime.worker import Worker
from tests.kit.waiting import until


class RunEcho(Contract, frozen=True):
    """Say it back."""

    text: Annotated[str, Meta(min_length=1, description="What to say.")]
    times: Annotated[int, Meta(ge=1, le=9)] = 1


class RunHeld(Contract, frozen=True):
    """Run until it is let go."""

    name: str = ""


class Seen(Contract, frozen=True):
    who: str


class Hold:
    """The job in a test's hands."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.let_go = asyncio.Event()
        self.seen: asyncio.Queue[Seen] = asyncio.Queue(100)


def make_module(hold: Hold) -> Module:
    module = Module("probe", kind="worker", summary="For the tests of HTTP.")

    @module.job("run.echo", RunEcho)
    async def echo(cmd: RunEcho, db: Db) -> list[str]:
        """Say it back as often as asked."""
        return [cmd.text] * cmd.times

    @module.job("run.held", RunHeld, concurrency=1, unique=("name",), unique_skip=True)
    async def held(cmd: RunHeld, job: Job) -> None:
        hold.begun.set()
        await hold.let_go.wait()

    @module.stream("seen.raw", Seen)
    async def seen(message: Seen) -> None:
        hold.seen.put_nowait(message)

    return module


class Heard(Adapters):
    """The adapters that ship, with a log that the test can read."""

    def __init__(self, settings: settings.Settings) -> None:
        super().__init__(settings)
        self.written = io.StringIO()

    @cached_property
    def log(self) -> Log:
        return make_log(clock=self.clock, format="json", stream=self.written)


class Site:
    """A running worker and a client of its HTTP."""

    def __init__(self, worker: Worker, hold: Hold, client: httpx.AsyncClient) -> None:
        self.worker = worker
        self.hold = hold
        self.client = client
        self.get = client.get
        self.post = client.post

    def log_lines(self, word: str) -> list[str]:
        """Those that `word` is in."""
        assert isinstance(self.worker.adapters, Heard)
        return [line for line in self.worker.adapters.written.getvalue().splitlines() if word in line]

    async def ended(self, job_id: str) -> dict[str, Any]:
        """The job, once it has. No wake tells of an end, and its task may be gone before its end can be read."""
        found: list[dict[str, Any]] = []

        async def has_ended() -> bool:
            found[:] = [(await self.get(f"/jobs/{job_id}")).json()]
            return found[0]["state"] not in ("queued", "running")

        await until(has_ended, what=f"the end of job {job_id}")
        return found[0]


def chosen(url: str, directory: Path, **more: str) -> settings.Settings:
    """Settings for a worker of a test: a free port, its own database, no files of the user's."""
    environ = {
        "DB_POSTGRES_URL": url,
        "MILLRACE_HOME": str(directory / ".millrace"),
        "HTTP_PORT": "0",
        "DRAIN_TIMEOUT_S": "2",
        **more,
    }
    return settings.load(overrides={}, environ=environ, directory=directory)


def made(url: str, directory: Path, hold: Hold, **more: str) -> Worker:
    settings = chosen(url, directory, **more)
    worker = Worker(settings, [make_module(hold)], adapters=Heard(settings))
    worker.http = HttpServer(worker)
    return worker


@asynccontextmanager
async def running(
    url: str, directory: Path, *, headers: Mapping[str, str] | None = None, **more: str
) -> AsyncIterator[Site]:
    """A site with these settings."""
    hold = Hold()
    worker = made(url, directory, hold, **more)
    await worker.start()
    try:
        async with httpx.AsyncClient(
            base_url=worker.http.address, headers=headers, timeout=10, trust_env=False
        ) as client:
            yield Site(worker, hold, client)
    finally:
        hold.let_go.set()
        if worker.supervisor.phase < Phase.CLOSING:
            await worker.stop()


def as_json(response: httpx.Response) -> Any:
    """The body, which must be JSON and say so."""
    assert response.headers["content-type"].startswith(("application/json", "application/problem+json"))
    return msgspec.json.decode(response.content)
