"""kill -9 and SIGTERM at every step of a job's way: what was accepted is done exactly once, at the latest by the next
worker."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from adapters.database.postgres import PostgresDb
from runtime import exits
from tests.kit.doomed_worker import POINTS

pytestmark = [pytest.mark.anyio, pytest.mark.chaos, pytest.mark.timeout(60), pytest.mark.usefixtures("unwatched")]

JOBS, STEPS = 4, 4


async def work(url: str, directory: Path, *more: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "tests.kit.doomed_worker", "--url", url, "--directory", str(directory)]
    with anyio.fail_after(30):
        return await anyio.run_process([*command, "--jobs", str(JOBS), "--steps", str(STEPS), *more], check=False)


@pytest.mark.parametrize("point", POINTS)
async def test_a_worker_that_dies_at(point: str, db: PostgresDb, database_url: str, tmp_path: Path) -> None:
    await db.execute("create table steps (job text not null, step int not null)")
    killed = await work(database_url, tmp_path, "--die-at", point)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    # What the dead worker had accepted is sent again by a client that never got its answer: a no-op by id.
    second = await work(database_url, tmp_path)
    assert second.returncode == 0, second.stderr
    await everything_is_there_once(db)


@pytest.mark.parametrize("point", POINTS)
async def test_a_worker_that_is_asked_to_stop_at(point: str, db: PostgresDb, database_url: str, tmp_path: Path) -> None:
    """SIGTERM in the place of SIGKILL: it drains, says what became of what ran, and the next one does the rest."""
    await db.execute("create table steps (job text not null, step int not null)")
    stopped = await work(database_url, tmp_path, "--die-at", point, "--signal", "SIGTERM")
    assert stopped.returncode in (exits.DONE, exits.CUT), stopped.stderr
    assert b'"drain report"' in stopped.stderr.splitlines()[-1]
    running = await db.fetch("select id from millrace.jobs where state = 'running'")
    assert running == [], "what was in flight was not handed back"
    second = await work(database_url, tmp_path)
    assert second.returncode == exits.DONE, second.stderr
    await everything_is_there_once(db)


async def everything_is_there_once(db: PostgresDb) -> None:
    unfinished = await db.fetch("select id, state, error from millrace.jobs where state <> 'done'")
    assert unfinished == []
    rows = await db.fetch(
        "select job, count(*) as rows, count(distinct step) as steps from steps group by 1 order by 1"
    )
    assert rows == [{"job": f"job-{n}", "rows": STEPS, "steps": STEPS} for n in range(JOBS)]
