"""What the module declares. What a run needs beyond this is imported when one runs: a worker starts at once."""

from __future__ import annotations

import msgspec

from contracts.batch_etl import (
    BatchEtlReport,
    CheckDataset,
    CheckedDataset,
    DatasetLine,
    Exported,
    ExportQuarantine,
    InferDataset,
    ListDatasets,
    ListQuarantine,
    QuarantinedRow,
    RunBatchEtl,
    ShowQuarantined,
)
from contracts.errors import Faults, MillraceError, NotFound
from contracts.job import Job
from contracts.module import Module, Retry
from contracts.ports import Catalog, Db, Feed, Files, Log, Metrics

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
    cmd: RunBatchEtl, job: Job, db: Db, files: Files, feed: Feed, catalog: Catalog, log: Log, metrics: Metrics
) -> BatchEtlReport:
    """Load the files of one dataset into its table, each day in one transaction."""
    from modules.batch_etl.publish import Publisher
    from modules.batch_etl.run import Load

    dataset = catalog.dataset(cmd.dataset)
    publisher = Publisher(dataset, catalog.event(dataset.publish.event), feed) if dataset.publish else None
    load = Load(cmd, dataset, job=job, db=db, files=files, log=log, metrics=metrics, publisher=publisher)
    return await load.run()


@module.on_startup
async def forget_expired(db: Db, log: Log) -> None:
    """Rejected rows don't outlive their retention where nothing is loaded any more. A worker starts without it, too."""
    from modules.batch_etl.record import prune

    try:
        if forgotten := await prune(db):
            log.info("rejected rows forgotten", rows=forgotten)
    except MillraceError as error:
        log.warn("rejected rows whose time is over are still there", why=str(error))


@module.tool("datasets list", ListDatasets)
async def list_datasets(_: ListDatasets, catalog: Catalog) -> list[DatasetLine]:
    """Every dataset of the catalog, and what is wrong with those that can't be used."""
    found = []
    for name in catalog.datasets():
        try:
            dataset = catalog.dataset(name)
        except (Faults, NotFound) as error:
            found.append(DatasetLine(name=name, fault=str(error)))
            continue
        form = msgspec.to_builtins(dataset.format)["type"]
        found.append(
            DatasetLine(
                name=name,
                table=dataset.table,
                mode=dataset.mode,
                format=form,
                source=dataset.source,
                columns=len(dataset.columns),
            )
        )
    return found


@module.tool("datasets check", CheckDataset)
async def check_dataset(cmd: CheckDataset, db: Db, files: Files, catalog: Catalog) -> CheckedDataset:
    """Read a sample of a dataset's files and say what a load would do with it; nothing is written."""
    from modules.batch_etl.checking import check

    return await check(cmd, catalog.dataset(cmd.dataset), db, files)


@module.tool("datasets infer", InferDataset)
async def infer_dataset(cmd: InferDataset, files: Files) -> str:
    """Write the first draft of a dataset's declaration from a file."""
    from modules.batch_etl.infer import infer

    return await infer(cmd, files)


@module.tool("quarantine list", ListQuarantine)
async def list_quarantine(cmd: ListQuarantine, db: Db) -> list[QuarantinedRow]:
    """Rejected rows that are kept, the newest load first."""
    from modules.batch_etl.shelf import listed

    return await listed(cmd, db)


@module.tool("quarantine show", ShowQuarantined)
async def show_quarantined(cmd: ShowQuarantined, db: Db) -> QuarantinedRow:
    """One rejected row in full."""
    from modules.batch_etl.shelf import one

    return await one(cmd.id, db)


@module.tool("quarantine export", ExportQuarantine)
async def export_quarantine(cmd: ExportQuarantine, db: Db, files: Files) -> Exported:
    """Write rejected rows to a file, one JSON object a line."""
    from modules.batch_etl.shelf import exported

    return await exported(cmd, db, files)
