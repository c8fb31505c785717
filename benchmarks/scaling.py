"""`python -m benchmarks.scaling`: 4 worker processes against 1, on Kafka and on Redis, 8 partitions each.

A handler waits for 5 ms, and a worker has 8 lanes: 1,600 messages a second are the most that one can do, and 6,400 the
most that four can, so that the processor is not what is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import os

from benchmarks import rounds
from benchmarks.fresh import database
from benchmarks.millrace_redis import DATABASE
from benchmarks.server import postgres
from tests.kit import services

ONE, FOUR = "1 worker", "4 workers"


async def main(count: int, of: int) -> None:
    """Each worker gets as many messages, so that all take equally long."""
    async with postgres() as url, database(url, migrated=True) as db:
        os.environ[DATABASE] = db
        for bus, start in (("kafka", services.start_kafka), ("redis-stream", services.start_redis)):
            with services.own(start) as server:
                contestants = {
                    name: ["-m", "benchmarks.scaled", bus, server.url, str(workers), str(workers * count)]
                    for name, workers in ((ONE, 1), (FOUR, 4))
                }
                figures = await asyncio.to_thread(rounds.run, contestants, rounds=of)
            print(bus)
            print(rounds.table(figures))
            print(rounds.ratio(figures, FOUR, ONE, "messages_per_s"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="messages for each worker")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    asyncio.run(main(given.count, given.rounds))
