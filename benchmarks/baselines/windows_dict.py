"""A loop by hand: `python -m benchmarks.baselines.windows_dict SERVERS TOPIC COUNT`.

aiokafka's `getmany` of at most 5,000 records, a dict of windows in memory, and one commit for each fetch: a crash loses
the windows that are open.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time

import msgspec
from aiokafka import AIOKafkaConsumer  # type: ignore[import-untyped]

from benchmarks.reading import Reading


async def main(servers: str, topic: str, count: int) -> None:
    """Messages a second, from the first fetch in hand to the last commit."""
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=servers,
        group_id=f"dict-{os.getpid()}",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    decode = msgspec.json.Decoder(Reading).decode
    windows: dict[tuple[str, int], list[float]] = {}
    taken, began_at = 0, 0.0
    while taken < count:
        fetched = await consumer.getmany(timeout_ms=1000, max_records=5000)
        began_at = began_at or time.perf_counter()
        for records in fetched.values():
            for record in records:
                reading = decode(record.value)
                key = reading.sensor, int(reading.at.timestamp()) // 60
                window = windows.get(key)
                if window is None:
                    windows[key] = [1, reading.value]
                else:
                    window[0] += 1
                    window[1] += reading.value
            taken += len(records)
        if fetched:
            await consumer.commit()
    averages = {key: total / number for key, (number, total) in windows.items()}
    seconds = time.perf_counter() - began_at
    print(json.dumps({"messages_per_s": count / seconds, "windows": float(len(averages))}))
    await consumer.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
