"""`python -m benchmarks.start`: from the shell prompt to the first line of a job, PostgreSQL being up already.

Starts `millrace run batch_etl` on a one-row file and asks the ledger when the job was started.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import asyncpg

from benchmarks import orders_csv, rounds
from benchmarks.server import postgres

OURS = "millrace run"


async def once(url: str) -> None:
    """Print how long one start took, in milliseconds by the wall clock, as JSON."""
    with TemporaryDirectory() as directory:
        orders_csv.write(Path(directory) / "orders.csv", 1)
        datasets = Path(directory) / "catalog" / "datasets"
        datasets.mkdir(parents=True)
        (datasets / "orders.yaml").write_text(orders_csv.DATASET, encoding="utf-8")
        environ = {**os.environ, "DB_POSTGRES_URL": url, "FS_LOCAL_ROOT": directory}
        prompt_at = time.time()  # noqa: TID251 - compared with the server's clock, on this machine the same
        command = [str(Path(sys.executable).with_name("millrace")), "run", "batch_etl", "orders", "--output", "json"]
        await anyio.run_process(command, cwd=directory, env=environ, check=True)
    connection = await asyncpg.connect(url)
    started_at = await connection.fetchval("select extract(epoch from max(started_at)) from millrace.jobs")
    await connection.close()
    print(json.dumps({"to_the_job_ms": (float(started_at) - prompt_at) * 1000}))


async def main(count: int) -> None:
    """Each start on a new, migrated database of a server that is up."""
    async with postgres() as url:
        contestants = {OURS: ["-m", "benchmarks.fresh", url, "benchmarks.start", "--once"]}
        print(rounds.table(await asyncio.to_thread(rounds.run, contestants, rounds=count)))


if __name__ == "__main__":
    if "--once" in sys.argv:
        asyncio.run(once(sys.argv[1]))
        raise SystemExit
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    asyncio.run(main(parser.parse_args().rounds))
