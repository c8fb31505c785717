"""Cut short anywhere and run again, a job has its results once, and tells of them once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.clock.system import SystemClock
from adapters.database.postgres import PostgresDb
from adapters.files.local import LocalFiles
from adapters.metrics.memory import MemoryMetrics
from contracts.data_quality import QualityReport, RunDataQuality
from contracts.errors import Failed
from contracts.ports import Db, Tx
from modules.data_quality.module import run
from tests.kit.catalog import DeclaredCatalog
from tests.kit.databases import LIMITS, Databases, opened
from tests.kit.deadly import Deadly, Killed
from tests.modules.batch_etl_kit import SilentLog, TestJob
from tests.modules.quality_kit import declared

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

SUITE = declared(
    {"check": "nulls", "column": "n"},
    {"check": "row_change", "fail": "when < 0"},
    {"check": "sql", "sql": "select * from things where n is null"},
    source="things",
)


class Telling:
    """Implements `Emit` by rows that commit with the transaction."""

    async def __call__(
        self,
        address: str,
        message: msgspec.Struct,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        after_s: float = 0.0,
        tx: Tx | None = None,
        of: int | None = None,
    ) -> str:
        assert tx is not None
        await tx.execute("insert into told values ($1, $2)", address, msgspec.json.encode(message).decode())
        return ""


async def checked(db: Db, job: TestJob, root: Path) -> QualityReport:
    await job.recall()
    with pytest.raises(Failed) as caught:
        await run(
            RunDataQuality(suite="s"), job, db, LocalFiles(root), DeclaredCatalog(SUITE), Telling(), SystemClock(),
            SilentLog(), MemoryMetrics(),
        )  # fmt: skip
    assert isinstance(caught.value.result, QualityReport)
    return caught.value.result


@pytest.mark.chaos
@pytest.mark.timeout(60)
async def test_at_any_statement(databases: Databases, tmp_path: Path) -> None:
    async with databases.fresh() as url, opened(PostgresDb(url, limits=LIMITS)) as db:
        await db.execute("create table things as select nullif(n, 3) as n from generate_series(1, 5) n")
        await db.execute("create table told (address text, message text)")
        whole = Deadly(db, None)
        await checked(whole, TestJob(db, "whole"), tmp_path)
        assert whole.statements > 10
        for at in range(1, whole.statements + 1):
            await db.execute("truncate told, millrace.quality_runs cascade")
            with pytest.raises(Killed):
                await checked(Deadly(db, at), TestJob(db, f"job {at}"), tmp_path)
            report = await checked(db, TestJob(db, f"job {at}"), tmp_path)
            assert (report.passed, report.failed) == (1, 2)
            kept: Any = await db.fetch("select job_id, failed from millrace.quality_runs")
            assert kept == [{"job_id": f"job {at}", "failed": 2}], f"killed before statement {at}"
            assert await db.fetch_value("select count(*) from millrace.quality_results") == 3
            assert await db.fetch_value("select count(*) from told") == 1, f"killed before statement {at}"
