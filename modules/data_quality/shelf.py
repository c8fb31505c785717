"""What is kept of runs: listed, drawn over time, shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from contracts.data_quality import CheckTrend, Failure, ListQuality, ShowFailures, ShowQuality, SuiteLine
from contracts.errors import Faults, NotFound
from contracts.ports import Catalog, Db

_LAST_RUNS = """
select distinct on (suite) suite, verdict, day, completed_at from millrace.quality_runs
order by suite, completed_at desc
"""
_HISTORY = """
with runs as (
    select job_id, completed_at, row_number() over (order by completed_at desc, job_id) as back
    from millrace.quality_runs where suite = $1
)
select r.source, r.name, r.verdict, r.value, r.warn, r.fail, r.place, runs.back
from runs join millrace.quality_results r using (job_id)
where runs.back <= $2 order by runs.back, r.place
"""
_FAILURES = """
select r.job_id as run, r.source, r.name, r.verdict, r.value, r.of_rows as of, r.warn, r.fail, r.why, r.sample, r.sql,
       r.rows_sql
from millrace.quality_results r where r.job_id = $1 and r.verdict <> 'pass' order by r.place
"""
_BARS = "▁▂▃▄▅▆▇█"
_LETTERS = {"pass": ".", "warn": "w", "fail": "F", "error": "E"}


async def listed(_: ListQuality, catalog: Catalog, db: Db) -> list[SuiteLine]:
    """In order of name."""
    last = {row["suite"]: row for row in await db.fetch(_LAST_RUNS)}
    lines = []
    for name in catalog.suites():
        try:
            suite = catalog.suite(name)
        except (Faults, NotFound) as error:
            lines.append(SuiteLine(name=name, fault=str(error)))
            continue
        run: Any = last.get(name, {})
        lines.append(
            SuiteLine(
                name=name,
                tables=len(suite.tables),
                checks=sum(len(table.checks) for table in suite.tables),
                verdict=run.get("verdict"),
                date=run.get("day"),
                completed_at=run.get("completed_at"),
            )
        )
    return lines


async def trends(cmd: ShowQuality, db: Db) -> list[CheckTrend]:
    """In the order of the last run; checks that it hadn't any more come after. Raises `NotFound` where there is no
    run."""
    rows = await db.fetch(_HISTORY, cmd.suite, cmd.last)
    if not rows:
        raise NotFound(f"no run of suite {cmd.suite!r} is kept: see `millrace quality list`")
    runs = max(row["back"] for row in rows)
    by_check: dict[tuple[str, str], dict[int, Any]] = {}
    for row in rows:
        by_check.setdefault((row["source"], row["name"]), {})[row["back"]] = row
    return [_trend(source, name, found, runs) for (source, name), found in by_check.items()]


async def failures(cmd: ShowFailures, db: Db) -> list[Failure]:
    """Of the last run, or of the one that is named. Raises `NotFound`."""
    run = cmd.run or await db.fetch_value(
        "select job_id from millrace.quality_runs where suite = $1 order by completed_at desc, job_id limit 1",
        cmd.suite,
    )
    known = "select true from millrace.quality_runs where job_id = $1 and suite = $2"
    if run is None or not await db.fetch_value(known, run, cmd.suite):
        raise NotFound(f"no run {cmd.run or ''} of suite {cmd.suite!r} is kept: see `millrace quality list`")
    return [Failure(**{**row, "sample": tuple(row["sample"])}) for row in await db.fetch(_FAILURES, run)]


def sparkline(values: Sequence[float | None]) -> str:
    """A bar a value, from the least to the greatest; a space where there is none."""
    known = [value for value in values if value is not None]
    low, span = (min(known), max(known) - min(known)) if known else (0.0, 0.0)
    steps = len(_BARS) - 1
    return "".join(
        " " if value is None else _BARS[round((value - low) / span * steps) if span else 0] for value in values
    )


def _trend(source: str, name: str, found: dict[int, Any], runs: int) -> CheckTrend:
    last = found[min(found)]
    oldest_first = [found.get(back) for back in range(runs, 0, -1)]
    values = tuple(row and row["value"] for row in oldest_first)
    return CheckTrend(
        source=source,
        name=name,
        verdict=last["verdict"],
        value=last["value"],
        trend=sparkline(values),
        verdicts="".join(_LETTERS[row["verdict"]] if row else " " for row in oldest_first),
        values=values,
        warn=last["warn"],
        fail=last["fail"],
    )
