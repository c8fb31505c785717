"""The results of runs: written in one transaction with the message that tells of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import msgspec

from contracts.data_quality import QualityReport
from contracts.ports.database import Queries, Tx
from contracts.quality import Suite
from modules.data_quality.examining import Finding

_RUN = """
insert into millrace.quality_runs (job_id, suite, day, verdict, passed, warned, failed, errors, seconds, expires_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, now() + make_interval(days => $10))
"""
_RESULTS = (
    "job_id", "place", "source", "name", "kind", "verdict", "value", "of_rows", "rows", "warn", "fail", "why", "sample",
    "sql", "rows_sql",
)  # fmt: skip
_ROWS_BEFORE = """
select r.rows from millrace.quality_runs q join millrace.quality_results r using (job_id)
where q.suite = $1 and r.source = $2 and r.name = $3 and r.rows is not null and q.job_id <> $4
  and ($5::date is null and q.day is null or q.day < $5)
order by q.day desc nulls last, q.completed_at desc limit 1
"""
_PRUNE = """
delete from millrace.quality_runs where job_id in (
    select job_id from millrace.quality_runs where expires_at <= now()
    order by expires_at limit $1 for update skip locked)
"""
PRUNED_AT_ONCE = 500


async def save(tx: Tx, suite: Suite, report: QualityReport, findings: Sequence[Finding], *, job_id: str) -> None:
    """The run and its results, instead of those that this job had before it was retried."""
    await tx.execute("delete from millrace.quality_runs where job_id = $1", job_id)
    await tx.execute(
        _RUN,
        job_id,
        report.suite,
        report.date,
        report.verdict,
        report.passed,
        report.warned,
        report.failed,
        report.errors,
        report.seconds,
        suite.keep_days,
    )
    rows = [_row(job_id, place, finding) for place, finding in enumerate(findings)]
    await tx.bulk_insert("millrace.quality_results", rows, columns=_RESULTS)


async def rows_before(db: Queries, suite: str, source: str, name: str, *, job_id: str, day: date | None) -> int | None:
    """How many rows a check counted at the run before, which is that of the latest date before, where there is one."""
    rows: int | None = await db.fetch_value(_ROWS_BEFORE, suite, source, name, job_id, day)
    return rows


async def prune(db: Queries) -> int:
    """Forget runs whose time is over; returns how many."""
    forgotten = 0
    while (some := await db.execute(_PRUNE, PRUNED_AT_ONCE)) == PRUNED_AT_ONCE:
        forgotten += some
    return forgotten + some


def _row(job_id: str, place: int, finding: Finding) -> tuple[Any, ...]:
    result = finding.result
    sample = msgspec.Raw(_without_nul(msgspec.json.encode(finding.sample).decode()).encode())
    return (
        job_id, place, result.source, result.name, result.check, result.verdict, result.value, result.of, finding.rows,
        result.warn, result.fail, _without_nul(result.why), sample, _without_nul(finding.sql),
        _without_nul(finding.rows_sql),
    )  # fmt: skip


def _without_nul(text: str) -> str:
    """As PostgreSQL can hold it: files can have what a table can't."""
    return text.replace("\\u0000", "\ufffd").replace("\0", "\ufffd")
