"""The test kit itself: what is missing is told, and what a killed run left is cleared."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from textwrap import dedent

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from adapters.database.postgres import PostgresDb
from tests.kit import databases, services
from tests.kit.databases import opened
from tests.kit.services import identity
from tests.kit.services.home import PREFIX, clear_abandoned
from tests.kit.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.integration, pytest.mark.timeout(60)]

ROOT = Path(__file__).parents[2]


async def run_of(directory: Path, test: str, **environment: str) -> asyncio.subprocess.Process:
    """pytest on a file of its own, with the conftest of ours."""
    (directory / "conftest.py").write_text("from tests.conftest import *\n")
    (directory / "test_it.py").write_text(dedent(test))
    (directory / "pytest.ini").write_text("[pytest]\n")
    inherited = {key: value for key, value in os.environ.items() if key not in {"CI", "MILLRACE_REFERENCE_DATA"}}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rs", "."),
        cwd=directory,
        env={**inherited, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


MISSING = """
    from tests.kit import services

    def test_widget():
        services.missing("Widget", reason="no widget answers", remedy="Buy one.")

    def test_data(reference_data):
        raise AssertionError
"""


async def test_what_is_missing_is_skipped_and_told_last(tmp_path: Path) -> None:
    process = await run_of(tmp_path, MISSING)
    told = (await process.communicate())[0].decode()
    assert process.returncode == 0, told
    assert "2 skipped" in told
    summary = told[told.index("not tried") :]
    assert "Widget: no widget answers. Buy one." in summary
    assert "reference data: MILLRACE_REFERENCE_DATA is not set" in summary


async def test_in_ci_a_missing_service_is_a_failure(tmp_path: Path) -> None:
    process = await run_of(tmp_path, MISSING, CI="true")
    told = (await process.communicate())[0].decode()
    assert process.returncode == 1, told
    assert "1 failed, 1 skipped" in told


async def test_databases_of_a_killed_run_are_cleared(tmp_path: Path, postgres: services.Running) -> None:
    waits = """
        import pytest
        pytestmark = pytest.mark.anyio

        async def test_waits(db):
            import asyncio
            await asyncio.Event().wait()
    """
    async with opened(PostgresDb(postgres.url)) as admin:
        process = await run_of(tmp_path, waits, MILLRACE_TEST_POSTGRES_URL=postgres.url)

        async def left() -> list[str]:
            mark = f"{databases.PREFIX}{process.pid}_"
            rows = await admin.fetch("select datname::text as n from pg_database where starts_with(datname, $1)", mark)
            return [row["n"] for row in rows]

        async def has_two() -> bool:  # the template and the test's own
            return len(await left()) == 2

        await until(has_two, timeout_s=30, what="the other run's databases")
        process.kill()
        await process.communicate()
        assert len(await left()) == 2
        async with databases.databases_on(postgres.url):
            assert await left() == []


async def test_a_server_of_a_killed_run_is_ended(tmp_path: Path) -> None:
    waits = """
        import pytest
        pytestmark = pytest.mark.anyio

        async def test_waits(redis_server):
            import asyncio
            print(f"server={redis_server.server.pid}", flush=True)
            await asyncio.Event().wait()
    """
    process = await run_of(
        tmp_path, waits, MILLRACE_TEST_REDIS_URL="", DOCKER_HOST="tcp://127.0.0.1:1", PYTEST_ADDOPTS="-s"
    )
    assert process.stdout is not None
    server = 0
    while not server:
        line = (await process.stdout.readline()).decode()
        assert line, "the other run ended before its test began"
        server = int(line.partition("server=")[2] or 0)
    process.kill()
    await process.communicate()
    assert identity.started(server) is not None, "it outlives its run"
    assert server in recorded()
    clear_abandoned()
    assert identity.started(server) is None
    assert server not in recorded()


def recorded() -> set[int]:
    """The processes that homes of servers know of."""
    found = set()
    for file in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/process"):
        with suppress(FileNotFoundError):  # another run's, which ends
            found.add(int(file.read_text().split()[0]))
    return found


async def test_another_process_of_the_same_number_is_left_alone(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec("sleep", "60")
    try:
        (tmp_path / "process").write_text(f"{process.pid} 1\n")
        identity.end_recorded(tmp_path / "process")
        assert process.returncode is None
        assert identity.started(process.pid) is not None
    finally:
        process.kill()
        await process.wait()


async def test_services_by_hand_run_until_they_are_interrupted() -> None:
    command = (sys.executable, "-m", "tests.kit.services", "redis")
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        env={**os.environ, "MILLRACE_TEST_REDIS_URL": "", "DOCKER_HOST": "tcp://127.0.0.1:1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    export = (await process.stdout.readline()).decode()
    variable, _, url = export.removeprefix("export ").strip().partition("=")
    assert variable == "MILLRACE_TEST_REDIS_URL"
    for line in ("", "# For Millrace itself, instead:", f"export CACHE_REDIS_URL={url}"):
        assert (await process.stdout.readline()).decode().rstrip("\n") == line
    while b"Ctrl-C" not in await process.stderr.readline():
        pass
    async with Redis.from_url(url) as client:
        assert await client.ping()
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0
        with pytest.raises(RedisConnectionError):
            await client.ping()


async def test_each_test_has_a_database_of_its_own(
    db: PostgresDb, database_url: str, postgres: services.Running
) -> None:
    name = await db.fetch_value("select current_database()")
    assert re.fullmatch(rf"{databases.PREFIX}{os.getpid()}_\d+", name)
    assert name in database_url
    assert await db.fetch_value("select to_regclass('millrace.jobs') is not null")
