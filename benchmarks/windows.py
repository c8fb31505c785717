"""`python -m benchmarks.windows`: count, sum and average by key and minute on Kafka, against a loop by hand, Quix
Streams, Bytewax and Faust."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from benchmarks import rounds
from benchmarks.reading import reading
from benchmarks.server import postgres
from tests.kit import services
from tests.kit.topics import fresh_topic

PARTITIONS = 8
BASELINES = "benchmarks.baselines"
OURS, LOOP, QUIX, BYTEWAX, FAUST = "millrace", "dict by hand", "Quix Streams", "Bytewax, no recovery", "Faust"


async def main(count: int, of: int) -> None:
    """Each contestant reads a topic that is full already, in a group of its own; the slow ones a part of it."""
    with services.own(services.start_kafka) as kafka:
        async with postgres() as url, filled(kafka, count) as topic, filled(kafka, count // 8) as less:
            aside = ["-m", "benchmarks.aside", "windows"]
            contestants = {
                OURS: ["-m", "benchmarks.fresh", url, "benchmarks.millrace_windows", kafka.url, topic, str(count)],
                LOOP: ["-m", f"{BASELINES}.windows_dict", kafka.url, topic, str(count)],
                QUIX: [*aside, f"{BASELINES}.windows_quix", kafka.url, topic, str(count // 4)],
                BYTEWAX: [*aside, f"{BASELINES}.windows_bytewax", kafka.url, topic, str(count)],
                FAUST: [*aside, f"{BASELINES}.windows_faust", kafka.url, less, str(count // 8)],
            }
            figures = await asyncio.to_thread(rounds.run, contestants, rounds=of)
    print(rounds.table(figures))
    for rival in (LOOP, QUIX, BYTEWAX, FAUST):
        print(rounds.ratio(figures, OURS, rival, "messages_per_s"))


@asynccontextmanager
async def filled(kafka: services.Running, count: int) -> AsyncIterator[str]:
    """A topic with so many, gone at the end."""
    from aiokafka import AIOKafkaProducer  # type: ignore[import-untyped]

    async with (
        fresh_topic(kafka, partitions=PARTITIONS, retention_ms="-1") as topic,
        AIOKafkaProducer(bootstrap_servers=kafka.url, linger_ms=20) as producer,
    ):
        for number in range(count):
            one = reading(number)
            body, at_ms = msgspec.json.encode(one), int(one.at.timestamp() * 1000)
            await producer.send(topic, body, key=one.sensor.encode(), timestamp_ms=at_ms)
        await producer.flush()
        yield topic


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=400_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    asyncio.run(main(given.count, given.rounds))
