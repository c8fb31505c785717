"""`millrace` in a shell: signals, pipes, terminals, and a worker that runs beside it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from adapters.database.postgres import PostgresDb
from tests.e2e.product import BIN, ROOT, environment, millrace, on_a_terminal, started, worker
from tests.kit import own_modules
from tests.kit.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.e2e, pytest.mark.timeout(90)]

MILLRACE = str(BIN / "millrace")


@pytest.fixture
def environ(database_url: str, tmp_path: Path) -> dict[str, str]:
    own_modules.write(tmp_path)
    return environment(tmp_path, database_url)


async def steps_done(db: PostgresDb) -> int:
    if not await db.fetch_value("select to_regclass('steps') is not null"):
        return 0
    return int(await db.fetch_value("select count(*) from steps"))


# On the examples.


async def test_the_demo_loads_a_day_of_trips(database_url: str, tmp_path: Path, db: PostgresDb) -> None:
    environ = environment(
        tmp_path, database_url, FS_LOCAL_ROOT=str(ROOT / "examples"), CATALOG_DIR=str(ROOT / "catalog")
    )
    del environ["PYTHONPATH"]
    command = ("run", "batch_etl", "--dataset", "trips", "--date", "2019-01-15")
    ran = millrace(environ, *command, "--output", "json")
    assert ran.returncode == 0, ran.stderr
    report = msgspec.json.decode(ran.stdout)["result"]
    outcomes = ("loaded", "updated", "unchanged", "duplicate", "rejected")
    assert report["read"] == sum(report[name] for name in outcomes) > 0
    assert await db.fetch_value(f"select count(*) from {report['table']}") == report["loaded"]  # noqa: S608
    again = millrace(environ, *command)
    assert again.returncode == 0
    assert "is done" in again.stdout
    assert millrace(environ, "datasets", "list", "--output", "json").stdout.lstrip().startswith(("{", "["))


# Signals.


async def test_ctrl_c_lets_the_job_end_when_it_can(environ: dict[str, str], tmp_path: Path, db: PostgresDb) -> None:
    with started(tmp_path, environ, MILLRACE, "run", "steps", "30", "--step-s", "0.05") as process:
        await process.logged("stepping")
        process.signal(signal.SIGINT)
        assert await process.ended() == 0
    assert "is done" in process.out
    assert await steps_done(db) == 30


async def test_what_ctrl_c_cuts_goes_on_with_the_next_worker(
    environ: dict[str, str], tmp_path: Path, db: PostgresDb
) -> None:
    command = (MILLRACE, "run", "steps", "60", "--step-s", "0.05")
    with started(tmp_path, {**environ, "DRAIN_TIMEOUT_S": "1"}, *command) as process:
        await until(lambda: _some(db), timeout_s=20, what="some steps")
        process.signal(signal.SIGINT)
        assert await process.ended() == 3
    assert process.out == ""
    assert "was cut short: it goes on from its checkpoint with the next worker" in process.err
    job_id = await db.fetch_value("select id from millrace.jobs")
    async with worker(tmp_path, environ) as running:
        await running.job_is(job_id, "done")
    assert [row["step"] for row in await db.fetch("select step from steps order by step")] == list(range(60))


async def _some(db: PostgresDb) -> bool:
    return await steps_done(db) >= 3


async def test_a_command_that_waits_is_ended_by_a_signal(
    environ: dict[str, str], tmp_path: Path, db: PostgresDb
) -> None:
    assert millrace(environ, "publish", "run.steps", "--json", '{"steps": 1}', "--id", "one").returncode == 0

    async def connections() -> int:
        sql = "select count(*) from pg_stat_activity where datname = current_database()"
        return int(await db.fetch_value(sql))

    for signum in (signal.SIGTERM, signal.SIGINT):
        before = await connections()
        with started(tmp_path, environ, sys.executable, "-u", "-m", "runtime", "jobs", "wait", "one") as process:

            async def connected(before: int = before) -> bool:
                return await connections() > before

            await until(connected, timeout_s=20, what="its connection to the database")
            process.signal(signum)
            assert await process.ended() == 3
        assert process.err == "millrace: interrupted\n"


# Pipes and terminals.


def test_a_reader_that_leaves_breaks_nothing(environ: dict[str, str], tmp_path: Path) -> None:
    for number in range(3):
        millrace(environ, "publish", "run.steps", "--json", '{"steps": 1}', "--id", f"job-{number}")
    script = f"set -o pipefail; {MILLRACE} jobs list --output json | head -1"
    ran = subprocess.run(
        ["bash", "-c", script], env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "[\n", "")


def test_on_a_terminal_there_is_a_bar_and_a_report(environ: dict[str, str], tmp_path: Path) -> None:
    with on_a_terminal(tmp_path, environ, MILLRACE, "run", "steps", "10", "--step-s", "0.02") as terminal:
        assert terminal.ended() == 0
    assert "10 of 10 rows" in terminal.text
    assert "is done" in terminal.text
    assert "stepping" not in terminal.text, "only warnings are logged, unless LOG_LEVEL says otherwise"
    command = (MILLRACE, "run", "steps", "1")
    with on_a_terminal(tmp_path, {**environ, "LOG_LEVEL": "info"}, *command) as terminal:
        assert terminal.ended() == 0
    assert "stepping" in terminal.text


async def test_a_roll_back_is_asked_for_on_a_terminal(environ: dict[str, str], tmp_path: Path, db: PostgresDb) -> None:
    async def applied() -> int:
        return int(await db.fetch_value("select count(*) from millrace._migrations"))

    before = await applied()
    for answer, code, left in (("n", 1, before), ("", 1, before), ("y", 0, before - 1)):
        with on_a_terminal(tmp_path, environ, MILLRACE, "migrate", "down") as terminal:
            terminal.read_until("[y/N]")
            assert "with its data?" in terminal.text
            terminal.type(f"{answer}\n")
            assert terminal.ended() == code
        assert await applied() == left


# Beside a running worker.


async def test_the_command_line_and_a_worker_share_a_ledger(
    environ: dict[str, str], tmp_path: Path, db: PostgresDb
) -> None:
    async with worker(tmp_path, {**environ, "HTTP_TOKEN": "let-me-in"}) as running:
        ran = millrace(environ, "publish", "run.steps", "--json", '{"steps": 3}', "--id", "one")
        assert (ran.returncode, ran.stderr) == (0, "")
        ran = millrace(environ, "jobs", "wait", "one", "--output", "json")
        assert ran.returncode == 0
        assert msgspec.json.decode(ran.stdout)["state"] == "done"
        order = ("publish", "orders.raw", "--json", '{"customer": "c", "amount": 1}')
        ran = millrace(environ, *order)
        assert (ran.returncode, ran.stdout) == (1, "")
        assert "HTTP_TOKEN" in ran.stderr
        ran = millrace({**environ, "HTTP_TOKEN": "let-me-in"}, *order)
        assert ran.returncode == 0, ran.stderr
        assert f"accepted by the worker at {running.summary['http']}" in ran.stdout

        async def kept() -> bool:
            return bool(await db.fetch_value("select count(*) = 1 from orders"))

        await until(kept, timeout_s=20, what="the order")


async def test_without_a_ledger_of_its_own_it_asks_the_worker(environ: dict[str, str], tmp_path: Path) -> None:
    async with worker(tmp_path, environ) as running:
        port = running.summary["http"].rpartition(":")[2]
        remote = {**environ, "HTTP_PORT": port, "MILLRACE_DB": "memory"}
        ran = millrace(remote, "publish", "run.steps", "--json", '{"steps": 3}', "--id", "one", "--output", "json")
        assert ran.returncode == 0, ran.stderr
        await running.job_is("one", "done")
        ran = millrace(remote, "jobs", "list", "--output", "json")
        assert [row["id"] for row in msgspec.json.decode(ran.stdout)] == ["one"]
        assert millrace(remote, "jobs", "wait", "one").returncode == 0


async def test_a_service_runs_until_it_is_stopped(environ: dict[str, str], tmp_path: Path, db: PostgresDb) -> None:
    with started(tmp_path, environ, MILLRACE, "run", "orders") as process:
        summary = (await process.logged("started"))["context"]
        assert summary["modules"] == "orders 1.0.0"
        ran = millrace(environ, "publish", "orders.raw", "--json", '{"customer": "c", "amount": 1}')
        assert ran.returncode == 0, ran.stderr
        process.signal()
        assert await process.ended() == 0
    assert process.drain_report()["clean"]
    assert await db.fetch_value("select count(*) from orders") == 1
