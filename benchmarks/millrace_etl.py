"""batch_etl by a worker: `python -m benchmarks.millrace_etl URL CSV`; prints its figures as JSON.

The clock runs from the publishing of `run.batch_etl` to the settled job, in a worker that has what a load imports (a
quarter of a second, once), as the others begin with their imports done; the peak is the worker's.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pgpq  # noqa: F401
import polars  # noqa: F401
import pyarrow.compute  # noqa: F401

from benchmarks.one_job import settled
from benchmarks.orders_csv import DATASET
from benchmarks.workers import settings_of
from contracts.batch_etl import RunBatchEtl
from runtime import registry
from runtime.worker import Worker


async def main(url: str, path: Path) -> None:
    """One job, on an idle worker."""
    with TemporaryDirectory() as directory:
        catalog = Path(directory) / "catalog" / "datasets"
        catalog.mkdir(parents=True)
        (catalog / "orders.yaml").write_text(DATASET.replace("orders.csv", path.name), encoding="utf-8")
        chosen = settings_of(directory, url, FS_LOCAL_ROOT=str(path.parent))
        worker = Worker(chosen, registry.load(["batch_etl"]))
        await worker.start()
        first = await _load(worker)
        again = await _load(worker)
        await worker.stop()
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures = {
        "rows_per_s": first[0] / first[1],
        "seconds": first[1],
        "peak_mb": peak_mb,
        "unchanged_ms": again[1] * 1000,
    }
    print(json.dumps(figures))


async def _load(worker: Worker) -> tuple[int, float]:
    """How many rows were read, and in how many seconds."""
    row, seconds = await settled(worker, RunBatchEtl(dataset="orders"), address="run.batch_etl")
    return int(row.result["read"]), seconds


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
