from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runtime.health_file import Health, HealthFile
from tests.integration.http_site import Site, as_json, running
from tests.kit.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.integration]


@pytest.fixture
async def site(database_url: str, tmp_path: Path) -> AsyncIterator[Site]:
    async with running(database_url, tmp_path) as site:
        yield site


@asynccontextmanager
async def kept(file: HealthFile) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        keeping = group.create_task(file.run())
        await until(lambda: file.path.exists() or keeping.done(), what="the health file is written")
        yield
        keeping.cancel()


def read(path: Path) -> Health:
    return msgspec.json.decode(path.read_bytes(), type=Health)


def left_behind(path: Path, **changed: Any) -> None:
    """What a process that was killed left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    now = "2026-01-01T00:00:00Z"
    health = {"status": "ok", "phase": "running", "since": now, "updated_at": now, "modules": [], "checks": {}}
    path.write_bytes(msgspec.json.encode({**health, "pid": 1, "host": os.uname().nodename, **changed}))


def dead_pid() -> int:
    """Of a process that has just ended."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


async def test_it_tells_of_the_process_and_its_job(site: Site, tmp_path: Path) -> None:
    job_id = as_json(await site.post("/commands/run.held", json={}))["job_id"]
    await site.hold.begun.wait()
    file = HealthFile(site.worker, job_id)
    async with kept(file):
        health = read(file.path)
    assert file.path == tmp_path / ".millrace/health" / f"{os.getpid()}.json"
    assert (health.status, health.phase, health.pid, health.job_id) == ("ok", "running", os.getpid(), job_id)
    assert health.modules == ("probe",)
    assert health.checks["db"].status == "ok"
    assert health.since <= health.updated_at


async def test_it_is_gone_after_a_clean_end(site: Site) -> None:
    file = HealthFile(site.worker)
    async with kept(file):
        assert file.path.exists()
    assert list(file.path.parent.iterdir()) == []


async def test_it_follows_the_phase(site: Site) -> None:
    file = HealthFile(site.worker)
    await site.post("/commands/run.held", json={})
    await site.hold.begun.wait()
    site.worker.loops.start("health file", file.run)
    await until(file.path.exists, what="the health file is written")
    async with asyncio.TaskGroup() as group:
        stopping = group.create_task(site.worker.stop())
        await until(lambda: read(file.path).phase == "draining", what="the file says that it drains")
        assert read(file.path).status == "unavailable"
        site.hold.let_go.set()
        await stopping
    assert not file.path.exists()


async def test_what_the_dead_left_is_taken_away_and_nothing_else(site: Site) -> None:
    file = HealthFile(site.worker)
    place = file.path.parent
    left_behind(place / "1000001.json", pid=dead_pid())
    left_behind(place / "1000002.json", pid=dead_pid(), host="another-machine")
    left_behind(place / "1000003.json", pid=os.getppid())
    (place / "1000004.json").write_text("not ours")
    (place / "notes.json").write_text("{}")
    async with kept(file):
        names = {path.name for path in place.iterdir()} - {file.path.name}
    assert names == {"1000002.json", "1000003.json", "1000004.json", "notes.json"}


async def test_another_place_is_left_alone(database_url: str, tmp_path: Path) -> None:
    chosen = tmp_path / "there" / "health.json"
    left_behind(chosen.with_name("1000001.json"), pid=dead_pid())
    async with running(database_url, tmp_path, HEALTH_FILE=str(chosen)) as site:
        async with kept(HealthFile(site.worker)):
            assert read(chosen).phase == "running"
        assert [path.name for path in chosen.parent.iterdir()] == ["1000001.json"]


async def test_a_place_that_can_not_be_written_is_told_once(database_url: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    async with running(database_url, tmp_path, HEALTH_FILE=str(tmp_path / "file" / "health.json")) as site:
        file = HealthFile(site.worker)
        async with asyncio.TaskGroup() as group:
            keeping = group.create_task(file.run())
            await until(lambda: bool(site.log_lines("health file can't be written")), what="it is told")
            assert not keeping.done()
            keeping.cancel()
        assert len(site.log_lines("health file can't be written")) == 1
