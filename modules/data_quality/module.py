"""What the module declares. What a run needs beyond this is imported when one runs: a worker starts at once."""

from __future__ import annotations

from contracts.data_quality import (
    CheckTrend,
    Failure,
    ListQuality,
    QualityReport,
    RunDataQuality,
    ShowFailures,
    ShowQuality,
    SuiteLine,
)
from contracts.errors import MillraceError
from contracts.job import Job
from contracts.module import Module, Retry
from contracts.ports import Catalog, Clock, Db, Emit, Files, Log, Metrics

module = Module(
    "data_quality",
    kind="job",
    summary="Check tables and lakes against what is declared of them, in one scan each, and keep how they came out.",
)


@module.job(
    "run.data_quality",
    RunDataQuality,
    retry=Retry(attempts=5),
    timeout_s=6 * 3600,
    concurrency=2,
    overrun="checkpoint",
    unique=("suite",),
)
async def run(
    cmd: RunDataQuality,
    job: Job,
    db: Db,
    files: Files,
    catalog: Catalog,
    emit: Emit,
    clock: Clock,
    log: Log,
    metrics: Metrics,
) -> QualityReport:
    """Check the tables and lakes of one suite; it fails where the suite does."""
    from modules.data_quality.run import Run

    suite = catalog.suite(cmd.suite)
    made = Run(
        cmd, suite, job=job, db=db, files=files, catalog=catalog, emit=emit, clock=clock, log=log, metrics=metrics
    )
    return await made.run()


@module.on_startup
async def forget_expired(db: Db, log: Log) -> None:
    """Results don't outlive their retention where nothing is checked any more. A worker starts without it, too."""
    from modules.data_quality.record import prune

    try:
        if forgotten := await prune(db):
            log.info("results of checks forgotten", runs=forgotten)
    except MillraceError as error:
        log.warn("results of checks whose time is over are still there", why=str(error))


@module.tool("quality list", ListQuality)
async def list_quality(cmd: ListQuality, db: Db, catalog: Catalog) -> list[SuiteLine]:
    """Every suite of the catalog, and how its last run ended."""
    from modules.data_quality.shelf import listed

    return await listed(cmd, catalog, db)


@module.tool("quality show", ShowQuality)
async def show_quality(cmd: ShowQuality, db: Db) -> list[CheckTrend]:
    """How the checks of a suite came out over its last runs."""
    from modules.data_quality.shelf import trends

    return await trends(cmd, db)


@module.tool("quality failures", ShowFailures)
async def show_failures(cmd: ShowFailures, db: Db) -> list[Failure]:
    """What did not pass at the last run of a suite, with some of the failing rows and the SQL that finds them."""
    from modules.data_quality.shelf import failures

    return await failures(cmd, db)
