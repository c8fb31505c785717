"""data_quality by a worker: `python -m benchmarks.millrace_quality URL`; prints its figures as JSON.

The clock runs from the publishing of `run.data_quality` to the settled job, its results recorded, in a worker that has
run one before: its imports are done and its connections made, as the others' are.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.baselines.quality_fused import RUNS
from benchmarks.checked_orders import SUITE
from benchmarks.one_job import settled
from benchmarks.workers import settings_of
from contracts.data_quality import RunDataQuality
from runtime import registry
from runtime.worker import Worker


async def main(url: str) -> None:
    """Jobs on an idle worker, one after the other; the seconds are their median."""
    with TemporaryDirectory() as directory:
        catalog = Path(directory) / "catalog" / "quality"
        catalog.mkdir(parents=True)
        (catalog / "orders.yaml").write_text(SUITE, encoding="utf-8")
        worker = Worker(settings_of(directory, url), registry.load(["data_quality"]))
        await worker.start()
        await _run(worker)
        took = [await _run(worker) for _ in range(RUNS)]
        await worker.stop()
    print(json.dumps({"seconds": sorted(took)[RUNS // 2]}))


async def _run(worker: Worker) -> float:
    """How many seconds a run took."""
    row, seconds = await settled(worker, RunDataQuality(suite="orders"), address="run.data_quality")
    assert [one["value"] for one in row.result["checks"] if one["check"] == "references"] == [20], row
    return seconds


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
