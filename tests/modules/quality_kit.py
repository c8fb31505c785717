"""What the tests of `data_quality` ask with: suites as their YAML would be decoded, and the module in the harness."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from adapters.database.postgres import PostgresDb
from adapters.files.local import LocalFiles
from contracts.data_quality import CheckResult, QualityReport, RunDataQuality
from contracts.job import JobState
from contracts.ports import Clock
from contracts.quality import Suite
from modules import data_quality
from tests.kit.catalog import DeclaredCatalog
from tests.kit.harness import Running, harness


def declared(
    *checks: dict[str, Any], source: str = "orders", suite: dict[str, Any] | None = None, **table: Any
) -> Suite:
    """A suite of one table."""
    plain = {"name": "s", "tables": [{"source": source, "checks": list(checks), **table}], **(suite or {})}
    made = msgspec.convert(plain, Suite)
    assert made.faults() == []
    return made


@asynccontextmanager
async def checking(
    db: PostgresDb, *declarations: msgspec.Struct, root: Path | None = None, clock: Clock | None = None
) -> AsyncIterator[Running]:
    files = None if root is None else LocalFiles(root)
    catalog = DeclaredCatalog(*declarations)
    async with harness(data_quality.module, db=db, catalog=catalog, files=files, clock=clock) as running:
        yield running


async def report_of(running: Running, suite: str = "s", day: date | None = None, **options: Any) -> QualityReport:
    """Of a run, whether it failed or not."""
    job_id = await running.start("run.data_quality", RunDataQuality(suite=suite, date=day), **options)
    row = await running.ended(job_id)
    assert row.state in (JobState.DONE, JobState.FAILED), row
    assert row.result is not None, row.error
    report = msgspec.convert(row.result, QualityReport)
    assert (row.state is JobState.FAILED) == (report.verdict == "fail")
    return report


async def checked(db: PostgresDb, suite: Suite, *more: msgspec.Struct, day: date | None = None) -> QualityReport:
    """One run of one suite."""
    async with checking(db, suite, *more) as running:
        return await report_of(running, suite.name, day)


def brief(report: QualityReport) -> list[tuple[str, str, float | None]]:
    return [(one.name, one.verdict, one.value) for one in report.checks]


def only(report: QualityReport) -> CheckResult:
    (one,) = report.checks
    return one
