"""Faust: `python -m benchmarks.aside windows benchmarks.baselines.windows_faust SERVERS TOPIC COUNT`.

As its documentation shows: a table with a tumbling window, in memory with a changelog topic.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import Any

import faust  # type: ignore[import-not-found]  # it has an environment of its own

PARTITIONS = 8


async def main(servers: str, topic: str, count: int) -> None:
    """Messages a second, from the first to the last."""
    app = faust.App(
        f"faust-{os.getpid()}",
        broker=f"kafka://{servers}",
        store="memory://",
        topic_partitions=PARTITIONS,
        web_enabled=False,
        value_serializer="json",
        consumer_auto_offset_reset="earliest",
    )
    table = app.Table("windows", default=_none, partitions=PARTITIONS).tumbling(60.0).relative_to_stream()
    done = asyncio.Event()
    handled, began_at = 0, 0.0

    @app.agent(app.topic(topic, value_serializer="json"))  # type: ignore[untyped-decorator]
    async def fold(stream: Any) -> None:
        nonlocal handled, began_at
        async for reading in stream:
            began_at = began_at or time.perf_counter()
            sensor = reading["sensor"]
            number, total = table[sensor].value()
            table[sensor] = [number + 1, total + reading["value"]]
            handled += 1
            if handled >= count:
                done.set()

    app.finalize()
    await app.start()
    await done.wait()
    print(json.dumps({"messages_per_s": count / (time.perf_counter() - began_at)}), flush=True)
    os._exit(0)  # it takes its time to stop, and what it leaves is in memory


def _none() -> list[float]:
    return [0, 0.0]


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
