"""The messages of `data_quality`, and what its commands show."""

from __future__ import annotations

from datetime import date as Day
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from contracts.message import Contract

QUALITY_COMPLETED = "quality.completed"

Verdict = Literal["pass", "warn", "fail", "error"]
"""`error`: the check could not be made, which fails the suite as well."""


class RunDataQuality(Contract, frozen=True, kw_only=True):
    """Check the tables and lakes of one suite."""

    suite: Annotated[str, Meta(min_length=1, description="Name of a suite in the catalog.")]
    date: Annotated[
        Day | None, Meta(description="The day to look at: fills {date}, and chooses rows and files by it.")
    ] = None


class CheckResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a check came to: `value`, of `of` rows where it is a number of them (in seconds where it is an age). `warn`
    and `fail` are its conditions, `why` says in words what an error is, or what there is to know."""

    source: str
    name: str
    check: str
    verdict: Verdict
    value: float | None = None
    of: int | None = None
    warn: str | None = None
    fail: str | None = None
    why: str = ""


class QualityReport(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict on a suite is the worst one of its checks, and `fail` where one could not be made."""

    suite: str
    date: Day | None
    verdict: Verdict
    passed: int
    warned: int
    failed: int
    errors: int
    seconds: float
    checks: tuple[CheckResult, ...]


class QualityCompleted(Contract, frozen=True, kw_only=True):
    """A suite was run, by job `run`; `bad` are the checks that did not pass."""

    suite: str
    run: str
    date: Day | None
    verdict: Verdict
    passed: int
    warned: int
    failed: int
    errors: int
    bad: tuple[CheckResult, ...]
    completed_at: Annotated[datetime, Meta(tz=True)]


class ListQuality(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every suite of the catalog, and how its last run ended."""


class SuiteLine(msgspec.Struct, frozen=True, kw_only=True):
    """One suite in the list; `fault` is there instead of the rest when its declaration can't be used."""

    name: str
    tables: int = 0
    checks: int = 0
    verdict: Verdict | None = None
    date: Day | None = None
    completed_at: datetime | None = None
    fault: str = ""


class ShowQuality(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the checks of a suite came out over its last runs."""

    suite: Annotated[str, Meta(min_length=1, description="Name of a suite.")]
    last: Annotated[int, Meta(ge=1, le=1000, description="Over so many runs.")] = 10


class CheckTrend(msgspec.Struct, frozen=True, kw_only=True):
    """A check over runs, the oldest first: `trend` draws the values from the least to the greatest, `verdicts` has a
    letter a run (`.` pass, `w` warn, `F` fail, `E` error); a space is a run without the check."""

    source: str
    name: str
    verdict: Verdict
    value: float | None
    trend: str
    verdicts: str
    values: tuple[float | None, ...]
    warn: str | None
    fail: str | None


class ShowFailures(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What did not pass at the last run of a suite: why, some of the failing rows, and the SQL that finds them."""

    suite: Annotated[str, Meta(min_length=1, description="Name of a suite.")]
    run: Annotated[str | None, Meta(description="Of this job, instead of the last one.")] = None


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A check that did not pass. `sample` are some of the failing rows by their keys, personal values masked; `sql` is
    what was asked, `rows_sql` what finds the failing rows."""

    run: str
    source: str
    name: str
    verdict: Verdict
    value: float | None
    of: int | None
    warn: str | None
    fail: str | None
    why: str
    sample: tuple[dict[str, str | None], ...]
    sql: str
    rows_sql: str
