"""data_quality by a worker: `python -m benchmarks.millrace_quality URL`; prints its figures as JSON.

The clock runs from the publishing of `run.data_quality` to the settled job, its results recorded, in a worker that has
run one before: its imports are done and its connections made, as the others' are.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.baselines.quality_fused import RUNS
from benchmarks.checked_orders import SUITE
from contracts.data_quality import RunDataQuality
from contracts.job import JobState
from runtime import commands, registry, settings
from runtime.worker import Worker


async def main(url: str) -> None:
    """Jobs on an idle worker, one after the other; the seconds are their median."""
    with TemporaryDirectory() as directory:
        catalog = Path(directory) / "catalog" / "quality"
        catalog.mkdir(parents=True)
        (catalog / "orders.yaml").write_text(SUITE, encoding="utf-8")
        environ = {"DB_POSTGRES_URL": url, "MILLRACE_LOG": "json", "LOG_LEVEL": "warn"}
        chosen = settings.load(overrides={}, environ=environ, directory=Path(directory))
        worker = Worker(chosen, registry.load(["data_quality"]))
        await worker.start()
        await _run(worker)
        took = [await _run(worker) for _ in range(RUNS)]
        await worker.stop()
    print(json.dumps({"seconds": sorted(took)[RUNS // 2]}))


async def _run(worker: Worker) -> float:
    """How many seconds a run took."""
    envelope = commands.envelope(
        "run.data_quality", RunDataQuality(suite="orders"), contract=RunDataQuality, clock=worker.clock
    )
    began = time.perf_counter()
    await worker.submit(envelope)
    while (row := await worker.adapters.ledger.desk.get(envelope.id)) is None or not row.state.final:
        run = worker.dispatcher.runs.get(envelope.id)
        await (asyncio.wait([run.task]) if run and run.task else asyncio.sleep(0.001))  # noqa: TID251 - until claimed
    seconds = time.perf_counter() - began
    assert row.state is JobState.DONE, row
    assert [one["value"] for one in row.result["checks"] if one["check"] == "references"] == [20], row
    return seconds


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
