"""No-op jobs through procrastinate: `python -m benchmarks.baselines.procrastinate_jobs URL JOBS`.

As its documentation has it: `PsycopgConnector`, `batch_defer_async`, one worker with `concurrency`. Jobs are deferred
before the clock starts, which flatters it: only fetching, running and finishing are timed.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import procrastinate

CONCURRENCY = 20


async def main(url: str, jobs: int) -> None:
    """Print jobs per second, from the worker's start to the last settled row."""
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url, max_size=CONCURRENCY))

    @app.task(name="noop")
    async def noop(n: int) -> None: ...

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        for start in range(0, jobs, 1000):
            arguments: list[dict[str, Any]] = [{"n": n} for n in range(start, min(jobs, start + 1000))]
            await noop.batch_defer_async(*arguments)
        began = time.perf_counter()
        await app.run_worker_async(concurrency=CONCURRENCY, wait=False, install_signal_handlers=False)
        seconds = time.perf_counter() - began
        rows = await app.connector.execute_query_all_async(
            "select count(*) as done from procrastinate_jobs where status = 'succeeded'"
        )
    assert rows[0]["done"] == jobs, rows
    print(json.dumps({"jobs_per_s": jobs / seconds}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
