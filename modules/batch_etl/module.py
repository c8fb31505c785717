"""What the module declares. What a run needs beyond this is imported when one runs: a worker starts at once."""

from __future__ import annotations

from contracts.batch_etl import BatchEtlReport, RunBatchEtl
from contracts.job import Job
from contracts.module import Module, Retry
from contracts.ports import Catalog, Db, Files, Log, Metrics

module = Module(
    "batch_etl",
    kind="job",
    summary="Load files into tables: typed, deduplicated, idempotent, with every rejected row explained.",
    display_name="Batch ETL",
)


@module.job(
    "run.batch_etl",
    RunBatchEtl,
    retry=Retry(attempts=5),
    timeout_s=6 * 3600,
    concurrency=1,
    overrun="checkpoint",
    unique=("dataset",),
)
async def run(
    cmd: RunBatchEtl, job: Job, db: Db, files: Files, catalog: Catalog, log: Log, metrics: Metrics
) -> BatchEtlReport:
    """Load the files of one dataset into its table, each day in one transaction."""
    from modules.batch_etl.run import Load

    dataset = catalog.dataset(cmd.dataset)
    return await Load(cmd, dataset, job=job, db=db, files=files, log=log, metrics=metrics).run()
