"""`python -m benchmarks.streams`: streams on Kafka, against FastStream and against aiokafka by hand."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec

from benchmarks import rounds
from benchmarks.fresh import database
from benchmarks.server import postgres
from benchmarks.stream_message import Order
from tests.kit import services
from tests.kit.topics import fresh_topic

KEYS, PARTITIONS = 1000, 8
PARTS = ("lanes", "single", "batch")
OURS, ORDERED, FIRST, RAW = "millrace", "FastStream, ordered", "FastStream, ACK_FIRST", "aiokafka by hand"


async def main(parts: Sequence[str], count: int, slow: int, of: int) -> None:
    """Each contestant reads a topic that is full already, in a group of its own."""
    with services.own(services.start_kafka) as kafka:
        async with postgres() as url, database(url, migrated=True) as db, filled(kafka, count) as topic:
            ours = ["-m", "benchmarks.millrace_streams", kafka.url, db, topic]
            theirs = ["-m", "benchmarks.baselines.faststream_kafka", kafka.url, topic]

            async def measured(title: str, rival: str, contestants: dict[str, list[str]]) -> None:
                figures = await asyncio.to_thread(rounds.run, contestants, rounds=of)
                print(title)
                print(rounds.table(figures))
                print(rounds.ratio(figures, OURS, rival, "messages_per_s"))

            if "lanes" in parts:
                await measured(
                    f"a handler that takes 5 ms, {KEYS} keys, {PARTITIONS} partitions, order per key",
                    ORDERED,
                    {
                        OURS: [*ours, str(slow), "lanes", "0.005"],
                        ORDERED: [*theirs, str(slow // 20), "ordered", "0.005"],
                    },
                )
            if "single" in parts:
                await measured(
                    "one message a call, no-op",
                    FIRST,
                    {OURS: [*ours, str(count), "single", "0"], FIRST: [*theirs, str(count), "first", "0"]},
                )
            if "batch" in parts:
                raw = ["-m", "benchmarks.baselines.aiokafka_getmany", kafka.url, topic, str(count)]
                await measured(
                    "batches: decoded, no-op, committed", RAW, {OURS: [*ours, str(count), "batch", "0"], RAW: raw}
                )


@asynccontextmanager
async def filled(kafka: services.Running, count: int) -> AsyncIterator[str]:
    """A topic with so many orders, gone at the end."""
    from aiokafka import AIOKafkaProducer  # type: ignore[import-untyped]

    async with (
        fresh_topic(kafka, partitions=PARTITIONS) as topic,
        AIOKafkaProducer(bootstrap_servers=kafka.url, linger_ms=20) as producer,
    ):
        for number in range(count):
            key = f"c{number % KEYS}"
            body = msgspec.json.encode(Order(customer=key, number=number // KEYS, price=9.5, note="x" * 40))
            await producer.send(topic, body, key=key.encode())
        await producer.flush()
        yield topic


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=PARTS, default=list(PARTS), help="which of it (default: all)")
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--slow", type=int, default=50_000, help="messages for handlers that take their time")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    asyncio.run(main(given.parts, given.count, given.slow, given.rounds))
