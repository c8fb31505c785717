"""`python -m benchmarks.redis_streams`: small messages on Redis, against task queues, and against a loop by hand."""

from __future__ import annotations

import argparse
import asyncio
import os

from benchmarks import rounds
from benchmarks.fresh import database
from benchmarks.millrace_redis import DATABASE
from benchmarks.server import postgres
from tests.kit import services

OURS, RAW = "millrace", "XREADGROUP by hand"
BASELINES = "benchmarks.baselines"
QUEUES = {
    "taskiq (Redis Stream broker)": ["8000", f"{BASELINES}.taskiq_redis", "stream"],
    "taskiq (list broker)": ["8000", f"{BASELINES}.taskiq_redis", "list"],
    "dramatiq (8 threads)": ["6000", f"{BASELINES}.dramatiq_actors"],
    "Celery (solo)": ["4000", f"{BASELINES}.celery_jobs", "solo"],
    "Celery (prefork, 2 processes)": ["4000", f"{BASELINES}.celery_jobs", "prefork"],
}
"""Each with as many messages as take it some seconds."""
ARQ = "arq (100 at once)"


async def main(single: int, batch: int, of: int) -> None:
    """Each contestant has an empty Redis, fills it, and starts one worker."""
    with services.own(services.start_redis) as redis:
        async with postgres() as url, database(url, migrated=True) as db:
            os.environ[DATABASE] = db

            def backlog(*of_what: str) -> list[str]:
                return ["benchmarks.backlog", redis.url, *of_what]

            async def measured(title: str, contestants: dict[str, list[str]]) -> None:
                figures = await asyncio.to_thread(rounds.run, contestants, rounds=of)
                print(title)
                print(rounds.table(figures))
                for rival in list(contestants)[1:]:
                    print(rounds.ratio(figures, OURS, rival, "messages_per_s"))

            await measured(
                "one message a call, no-op",
                {
                    OURS: ["-m", *backlog(str(single), "benchmarks.millrace_redis", "single")],
                    **{name: ["-m", *backlog(*rival)] for name, rival in QUEUES.items()},
                    ARQ: ["-m", "benchmarks.aside", "arq", *backlog("5000", f"{BASELINES}.arq_jobs")],
                },
            )
            await measured(
                "batches: decoded, no-op, acknowledged",
                {
                    OURS: ["-m", *backlog(str(batch), "benchmarks.millrace_redis", "batch")],
                    RAW: ["-m", *backlog(str(batch), f"{BASELINES}.xreadgroup_loop")],
                },
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--single", type=int, default=50_000, help="messages that are handled one by one")
    parser.add_argument("--batch", type=int, default=400_000, help="messages that are handled in batches")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    asyncio.run(main(given.single, given.batch, given.rounds))
