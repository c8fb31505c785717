"""Cut short anywhere and run again, a load comes to what an undisturbed one comes to: rows, quarantine and records."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from adapters.database.postgres import PostgresDb
from contracts.dataset import Dataset
from tests.kit.databases import LIMITS, Databases, opened
from tests.kit.deadly import Deadly, Killed
from tests.modules.batch_etl_kit import Etl, TestJob, adds_up, declared

pytestmark = pytest.mark.anyio

DAYS: dict[str, Any] = {"from_date": date(2025, 1, 1), "to_date": date(2025, 1, 2)}
COLUMNS = [{"name": "id", "type": "int"}, {"name": "day", "type": "date"}, {"name": "value", "type": "int"}]
MODES: dict[str, dict[str, Any]] = {
    "upsert": {"key": ["id"]},
    "append": {"mode": "append"},
    "replace": {"mode": "replace", "partition_by": "day", "key": ["id"]},
}


def things(mode: str) -> Dataset:
    return declared(COLUMNS, name="things", table="things", source="{date}.csv", **MODES[mode])


def put_files(etl: Etl) -> None:
    """Two days with new, changed, repeated and bad rows."""
    for number in (1, 2):
        rows = [f"{n},2025-01-0{number},{number}" for n in range(number * 10, number * 10 + 15)]
        if number > 1:
            rows = [row for row in rows if int(row.split(",")[0]) >= number * 10 + 5]
        etl.put(f"2025-01-0{number}.csv", "\n".join(["id,day,value", *rows, rows[-1], f"x,2025-01-0{number},1"]) + "\n")


async def outcome(etl: Etl) -> dict[str, Any]:
    return {
        "table": await etl.rows("select id, day, value from things order by 1, 2"),
        "key": await etl.rows(
            "select pg_get_constraintdef(oid) from pg_constraint where conrelid = 'things'::regclass order by 1"
        ),
        "quarantine": await etl.rows("select file, line, reasons::text, raw from millrace.quarantine order by 1, 2"),
        "files": await etl.rows("select part, path, content, read, rejected from millrace.dataset_files order by 1, 2"),
        "loads": await etl.rows("select part, read, loaded, duplicate from millrace.dataset_loads order by 1"),
    }


@pytest.mark.chaos
@pytest.mark.timeout(180)
@pytest.mark.parametrize("mode", MODES)
async def test_at_any_statement(databases: Databases, tmp_path: Path, mode: str) -> None:
    async with databases.fresh() as url, opened(PostgresDb(url, limits=LIMITS)) as db:
        etl = Etl(db, tmp_path)
        put_files(etl)
        whole = Deadly(db, None)
        report = await etl.run(things(mode), job=TestJob(db, "whole"), db=whole, **DAYS)
        expected = await outcome(etl)
    assert whole.statements > 30
    assert (report.read, report.rejected) == (29, 2)
    async with databases.fresh() as url, opened(PostgresDb(url, limits=LIMITS)) as db:
        etl = Etl(db, tmp_path)
        for at in range(1, whole.statements + 1):
            deadly = Deadly(db, at)
            with pytest.raises(Killed):
                await etl.run(things(mode), job=TestJob(db, f"job {at}"), db=deadly, **DAYS)
            again = await etl.run(things(mode), job=TestJob(db, f"job {at}"), **DAYS)
            assert adds_up(again)
            assert await outcome(etl) == expected, f"killed before statement {at}"
            assert (again.read, again.loaded) == (report.read, report.loaded), f"killed before statement {at}"
            await db.execute(
                "drop table things; truncate millrace.quarantine, millrace.dataset_files, millrace.dataset_loads"
            )


DOOMED = """
import asyncio, os, signal, sys
from pathlib import Path
from adapters.database.postgres import PostgresDb
from tests.modules.batch_etl_kit import Etl, TestJob
from tests.modules.test_batch_etl_killed import DAYS, things

class Doomed(TestJob):
    def progress(self, progress):
        if progress.message.startswith(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)

async def main():
    db = PostgresDb(sys.argv[1])
    await db.open()
    await Etl(db, Path(sys.argv[2])).run(things("upsert"), job=Doomed(db, "doomed"), **DAYS)

asyncio.run(main())
"""


@pytest.mark.chaos
@pytest.mark.timeout(60)
@pytest.mark.parametrize("moment", ["reading 2025-01-01", "loading", "reading 2025-01-02"])
async def test_by_the_system(database_url: str, db: PostgresDb, tmp_path: Path, moment: str) -> None:
    """kill -9: the connection breaks, the server rolls back, the next run goes on."""
    etl = Etl(db, tmp_path)
    put_files(etl)
    root = Path(__file__).parents[2]
    dead = subprocess.run(  # noqa: ASYNC221 - nothing else goes on here
        [sys.executable, "-c", DOOMED, database_url, tmp_path, moment],
        check=False, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True,
    )  # fmt: skip
    assert dead.returncode == -signal.SIGKILL, dead.stderr.decode()
    job = TestJob(db, "doomed")
    report = await etl.run(things("upsert"), job=job, **DAYS)
    assert (report.read, report.loaded, report.rejected, report.files_read) == (29, 25, 2, 2)
    assert await etl.rows("select count(*), sum(value) from things") == [(25, 35)]
