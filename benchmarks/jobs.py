"""`python -m benchmarks.jobs`: no-op jobs against procrastinate on the same PostgreSQL, and the latency of one job."""

from __future__ import annotations

import argparse
import asyncio

from benchmarks import rounds
from benchmarks.server import postgres

BACKLOG_OF_THEIRS = 2_000
"""Its rate falls with the length of its queue, so it is given a short one."""

OURS, THEIRS = "millrace", "procrastinate (concurrency 20)"


async def main(jobs: int, count: int) -> None:
    """A database of its own for each contestant and round, so that none inherits the other's bloat."""
    async with postgres() as url:
        measured = await asyncio.to_thread(
            rounds.run,
            {
                OURS: ["-m", "benchmarks.fresh", url, "benchmarks.millrace_jobs", str(jobs)],
                THEIRS: [
                    "-m",
                    "benchmarks.fresh",
                    url,
                    "benchmarks.baselines.procrastinate_jobs",
                    str(BACKLOG_OF_THEIRS),
                ],
            },
            rounds=count,
        )
    print(rounds.table(measured))
    print(rounds.ratio(measured, OURS, THEIRS, "jobs_per_s"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    asyncio.run(main(given.jobs, given.rounds))
