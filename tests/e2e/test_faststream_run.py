"""The whole product as its users start it: `faststream run runtime.app:app`, a real PostgreSQL, HTTP, signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from anyio import to_thread

from adapters.database.postgres import PostgresDb
from runtime import exits
from tests.kit.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.e2e, pytest.mark.timeout(90)]

ROOT = Path(__file__).parents[2]
FASTSTREAM = str(Path(sys.executable).with_name("faststream"))
TRIPS = {"dataset": "trips", "date": "2019-01-15"}


class Running:
    """A worker in a process of its own; its log is read line by line."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []

    def read_until(self, message: str) -> dict[str, Any]:
        """The first line with this message; what came before it is kept too."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(json.loads(line))
            if self.lines[-1]["message"] == message:
                return self.lines[-1]
        raise AssertionError(f"{message!r} never came; the log: {self.lines}")

    def stop(self, signum: int = signal.SIGTERM) -> int:
        """The exit code after the signal; the rest of the log is read."""
        self.process.send_signal(signum)
        assert self.process.stderr is not None
        self.lines.extend(json.loads(line) for line in self.process.stderr)
        return self.process.wait(timeout=30)


@contextmanager
def worker(url: str, home: Path, **settings: str) -> Iterator[Running]:
    environ = {
        **os.environ,
        "DB_POSTGRES_URL": url,
        "FS_LOCAL_ROOT": str(ROOT / "examples"),
        "MILLRACE_HOME": str(home),
        "MILLRACE_LOG": "json",
        "HTTP_PORT": "0",
        **settings,
    }
    process = subprocess.Popen(
        [FASTSTREAM, "run", "runtime.app:app"], cwd=ROOT, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        yield Running(process)
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


async def test_a_command_is_posted_done_and_drained(db: PostgresDb, database_url: str, tmp_path: Path) -> None:
    with worker(database_url, tmp_path) as running:
        started = await to_thread.run_sync(running.read_until, "started")
        assert "run.batch_etl" in started["context"]["routes"]
        async with httpx.AsyncClient(base_url=started["context"]["http"], timeout=20) as http:
            posted = await http.post("/commands/run.batch_etl", json=TRIPS)
            assert posted.status_code == 202, posted.text
            job = posted.json()["job_id"]

            async def done() -> bool:
                return bool((await http.get(f"/jobs/{job}")).json()["state"] == "done")

            await until(done, timeout_s=30, what="the job")
            assert (await http.get("/health/ready")).status_code == 200
        assert await to_thread.run_sync(running.stop) == exits.DONE, running.lines
    assert running.lines[-1]["message"] == "drain report"
    assert running.lines[-1]["context"]["clean"] is True
    assert await db.fetch_value("select count(*) from trips") == 1491


async def test_wrong_settings_are_all_told_and_nothing_is_started(database_url: str, tmp_path: Path) -> None:
    with worker(database_url, tmp_path, HTTP_PORT="many", DRAIN_TIMEOUT_S="-1", MILLRACE_MQ="pigeon") as running:
        _, told = await to_thread.run_sync(running.process.communicate)
    assert running.process.returncode == exits.WRONG
    for key in ("HTTP_PORT", "DRAIN_TIMEOUT_S", "MILLRACE_MQ"):
        assert key in told.decode()
    assert "Traceback" not in told.decode()


async def test_an_unknown_module_is_refused(database_url: str, tmp_path: Path) -> None:
    with worker(database_url, tmp_path, MODULES="batch_elt") as running:
        _, told = await to_thread.run_sync(running.process.communicate)
    assert running.process.returncode == exits.WRONG
    assert "batch_etl" in told.decode()


async def test_two_workers_share_one_ledger(db: PostgresDb, database_url: str, tmp_path: Path) -> None:
    """Both are there, and a command that one records is done once, whoever takes it."""
    with worker(database_url, tmp_path / "a") as one, worker(database_url, tmp_path / "b") as other:
        first = await to_thread.run_sync(one.read_until, "started")
        await to_thread.run_sync(other.read_until, "started")
        async with httpx.AsyncClient(base_url=first["context"]["http"], timeout=20) as http:
            assert len((await http.get("/workers")).json()) == 2
            for day in ("2019-01-14", "2019-01-15", "2019-01-16"):
                await http.post("/commands/run.batch_etl", json={"dataset": "trips", "date": day})

            async def all_done() -> bool:
                return bool(await db.fetch_value("select count(*) = 3 from millrace.jobs where state = 'done'"))

            await until(all_done, timeout_s=40, what="the jobs")
        assert await to_thread.run_sync(one.stop) == exits.DONE, one.lines
        assert await to_thread.run_sync(other.stop, signal.SIGINT) == exits.DONE, other.lines
    assert await db.fetch_value("select count(*) from millrace.jobs where claims > 1") == 0


def test_documents_have_every_route(tmp_path: Path) -> None:
    out = tmp_path / "asyncapi.json"
    subprocess.run(
        [FASTSTREAM, "docs", "gen", "runtime.app:app", "--out", str(out)], cwd=ROOT, check=True, capture_output=True
    )
    document = json.loads(out.read_text())
    addresses = {channel["address"] for channel in document["channels"].values()}
    assert {"run.batch_etl", "orders.placed"} <= addresses, "what modules declare, and what the catalog does"
    assert "RunBatchEtl" in document["components"]["schemas"]
