"""`python -m benchmarks.ingest`: Kafka into PostgreSQL, against loops by hand."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks import rounds
from benchmarks.fresh import database
from benchmarks.ingest_message import body
from benchmarks.server import postgres
from tests.kit import services
from tests.kit.topics import fresh_topic

PARTITIONS = 8
OURS, HAND, ROWS = "millrace, key", "by hand, key", "by hand, row by row"
OURS_COPY, HAND_COPY = "millrace, no key", "by hand, no key"


async def main(count: int, few: int, of: int) -> None:
    """Each contestant reads a topic that is full already, in a group of its own, into a table of its own."""
    with services.own(services.start_kafka) as kafka:
        async with (
            postgres() as url,
            database(url, migrated=True) as db,
            filled(kafka, count) as topic,
            filled(kafka, few) as short,
        ):
            ours = ["-m", "benchmarks.millrace_ingest", kafka.url, db, topic, str(count), str(PARTITIONS)]
            hand = ["-m", "benchmarks.baselines.ingest_loop", kafka.url, db]
            contestants = {
                OURS: [*ours, "merge"],
                HAND: [*hand, topic, str(count), "merge"],
                ROWS: [*hand, short, str(few), "rows"],
                OURS_COPY: [*ours, "copy"],
                HAND_COPY: [*hand, topic, str(count), "copy"],
            }
            figures = await asyncio.to_thread(rounds.run, contestants, rounds=of)
            print(f"{count:,} events in {PARTITIONS} partitions, 5,000 a batch, into PostgreSQL")
            print(rounds.table(figures))
            for mine, theirs in ((OURS, HAND), (OURS, ROWS), (OURS_COPY, HAND_COPY), (OURS_COPY, OURS)):
                print(rounds.ratio(figures, mine, theirs, "messages_per_s"))


@asynccontextmanager
async def filled(kafka: services.Running, count: int, *, partitions: int = PARTITIONS) -> AsyncIterator[str]:
    """A topic with so many, gone at the end."""
    from aiokafka import AIOKafkaProducer  # type: ignore[import-untyped]

    async with (
        fresh_topic(kafka, partitions=partitions) as topic,
        AIOKafkaProducer(bootstrap_servers=kafka.url, linger_ms=20) as producer,
    ):
        for number in range(count):
            await producer.send(topic, body(number), key=b"c%d" % (number % 1000))
        await producer.flush()
        yield topic


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300_000)
    parser.add_argument("--few", type=int, default=5000, help="messages that are written row by row")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    asyncio.run(main(given.count, given.few, given.rounds))
