"""`python -m benchmarks.event_enricher`: events that one worker looks up and republishes, on Kafka and in memory."""

from __future__ import annotations

import argparse
import asyncio

from benchmarks import rounds
from benchmarks.fresh import database
from benchmarks.server import postgres
from benchmarks.streams import filled
from tests.kit import services

KAFKA, MEMORY, KAFKA_COLD = "Kafka", "memory", "Kafka, nothing in the cache"


async def main(count: int, of: int) -> None:
    """Each reads events that are all there already; the rate is to the confirmation of the last one that is sent."""
    with services.own(services.start_kafka) as kafka:
        async with postgres() as url, database(url, migrated=True) as db, filled(kafka, count) as topic:
            ours = ["-m", "benchmarks.millrace_enricher", db, topic, str(count)]
            contestants = {
                KAFKA: [*ours, "60", kafka.url],
                KAFKA_COLD: [*ours, "0", kafka.url],
                MEMORY: [*ours, "60", ""],
            }
            figures = await asyncio.to_thread(rounds.run, contestants, rounds=of)
            print(f"{count} events, 1000 keys, 8 partitions: looked up, sent on through the outbox")
            print(rounds.table(figures))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    asyncio.run(main(given.count, given.rounds))
