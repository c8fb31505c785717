"""The path of a run: examine each table, record what was found, and say whether that is well."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from datetime import time as Time

import msgspec

from contracts.data_quality import QUALITY_COMPLETED, QualityCompleted, QualityReport, RunDataQuality
from contracts.errors import BadInput, Failed
from contracts.job import Job, Progress
from contracts.ports import Catalog, Clock, Db, Emit, Files, Log, Metrics
from contracts.quality import CheckedTable, RowChange, Suite, name_of
from modules.data_quality import lakes, record, tables
from modules.data_quality.engine import Engine
from modules.data_quality.examining import Examination, Finding
from modules.data_quality.judging import in_words, verdict_of
from modules.data_quality.measures import CHECKS, SUITE_SECONDS, SUITE_VERDICT
from modules.data_quality.privacy import Declared, declared_of


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The report, once its results are recorded: what a run begins with whose forerunner was killed after that."""

    report: QualityReport | None = None


class Run:
    """One run of one command."""

    def __init__(
        self,
        cmd: RunDataQuality,
        suite: Suite,
        *,
        job: Job,
        db: Db,
        files: Files,
        catalog: Catalog,
        emit: Emit,
        clock: Clock,
        log: Log,
        metrics: Metrics,
    ) -> None:
        self.cmd = cmd
        self.suite = suite
        self.job = job
        self.db = db
        self.files = files
        self.catalog = catalog
        self.emit = emit
        self.clock = clock
        self.log = log.bind(suite=suite.name)
        self.metrics = metrics

    async def run(self) -> QualityReport:
        """The report of a suite that did not fail; raises `Failed`, with the report, for one that did."""
        if self.suite.needs_date and self.cmd.date is None:
            raise BadInput(f"suite {self.suite.name} needs a date: it has {{date}} or partition_by in it")
        saved = self.job.saved(Checkpoint) or Checkpoint()
        report = saved.report or await self._made()
        if report.verdict == "fail":
            raise Failed(in_words(report), report)
        return report

    async def _made(self) -> QualityReport:
        began = time.perf_counter()
        at = self._at()
        findings: list[Finding] = []
        for number, table in enumerate(self.suite.tables):
            if self.job.stopping:
                await self.job.checkpoint(Checkpoint())
            self._told(findings, number)
            findings += await self._examined(table, at)
        report = self._report(findings, seconds=time.perf_counter() - began)
        async with self.db.transaction() as tx:
            await record.save(tx, self.suite, report, findings, job_id=self.job.id)
            await self.emit(QUALITY_COMPLETED, self._completed(report), key=self.suite.name, tx=tx)
            await self.job.checkpoint(Checkpoint(report=report), tx=tx)
        self._count(report)
        await record.prune(self.db)
        return report

    async def _examined(self, table: CheckedTable, at: datetime) -> list[Finding]:
        declared = declared_of(table, self.catalog)
        if declared.privacy.unsure:
            self.log.warn("some declarations can't be read: failing rows are shown masked whole", table=table.source)
        changes = [name_of(check) for check in table.checks if isinstance(check, RowChange)]
        before = {name: await self._rows_before(table, name) for name in changes}
        async with self._engine(table, declared) as engine:
            examination = Examination(self.suite, table, declared, engine, day=self.cmd.date, at=at, rows_before=before)
            return await examination.findings()

    async def _rows_before(self, table: CheckedTable, name: str) -> int | None:
        return await record.rows_before(
            self.db, self.suite.name, table.source, name, job_id=self.job.id, day=self.cmd.date
        )

    @asynccontextmanager
    async def _engine(self, table: CheckedTable, declared: Declared) -> AsyncIterator[Engine]:
        if table.lake is None:
            async with tables.reading(self.db, self.suite, table.source, private=declared.privacy.any) as engine:
                yield engine
        else:
            async with lakes.opened(
                table, self.suite, db=self.db, files=self.files, catalog=self.catalog, day=self.cmd.date
            ) as lake:
                yield lake

    def _at(self) -> datetime:
        """From when ages are told."""
        now = self.clock.now()
        if self.cmd.date is None:
            return now
        return min(now, datetime.combine(self.cmd.date + timedelta(days=1), Time.min, UTC))

    def _report(self, findings: Sequence[Finding], *, seconds: float) -> QualityReport:
        results = tuple(finding.result for finding in findings)
        verdicts = [result.verdict for result in results]
        return QualityReport(
            suite=self.suite.name,
            date=self.cmd.date,
            verdict=verdict_of(results),
            passed=verdicts.count("pass"),
            warned=verdicts.count("warn"),
            failed=verdicts.count("fail"),
            errors=verdicts.count("error"),
            seconds=seconds,
            checks=results,
        )

    def _completed(self, report: QualityReport) -> QualityCompleted:
        return QualityCompleted(
            suite=report.suite,
            run=self.job.id,
            date=report.date,
            verdict=report.verdict,
            passed=report.passed,
            warned=report.warned,
            failed=report.failed,
            errors=report.errors,
            bad=tuple(result for result in report.checks if result.verdict != "pass"),
            completed_at=self.clock.now(),
        )

    def _count(self, report: QualityReport) -> None:
        for result in report.checks:
            self.metrics.add(CHECKS, suite=report.suite, verdict=result.verdict)
        self.metrics.observe(SUITE_SECONDS, report.seconds, suite=report.suite)
        self.metrics.set(SUITE_VERDICT, ("pass", "warn", "fail").index(report.verdict), suite=report.suite)
        counts = {name: getattr(report, name) for name in ("passed", "warned", "failed", "errors")}
        self.log.info("checked", verdict=report.verdict, **counts)

    def _told(self, findings: Sequence[Finding], number: int) -> None:
        table = self.suite.tables[number]
        rows = sum(finding.rows or 0 for finding in findings)
        message = f"{table.source}: {len(table.checks)} checks ({number + 1} of {len(self.suite.tables)} tables)"
        self.job.progress(Progress(rows=rows, message=message))
