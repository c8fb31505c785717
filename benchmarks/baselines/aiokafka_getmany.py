"""aiokafka by hand: `python -m benchmarks.baselines.aiokafka_getmany SERVERS TOPIC COUNT`.

`getmany` of at most 5,000 records, each decoded, and one commit for each fetch.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time

import msgspec
from aiokafka import AIOKafkaConsumer  # type: ignore[import-untyped]

from benchmarks.stream_message import Order


async def main(servers: str, topic: str, count: int) -> None:
    """Messages a second, from the first fetch in hand to the last commit."""
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=servers,
        group_id=f"raw-{os.getpid()}",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    decoder = msgspec.json.Decoder(Order)
    taken, began_at = 0, 0.0
    while taken < count:
        fetched = await consumer.getmany(timeout_ms=1000, max_records=5000)
        began_at = began_at or time.perf_counter()
        for records in fetched.values():
            for record in records:
                decoder.decode(record.value)
            taken += len(records)
        if fetched:
            await consumer.commit()
    print(json.dumps({"messages_per_s": count / (time.perf_counter() - began_at)}))
    await consumer.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
