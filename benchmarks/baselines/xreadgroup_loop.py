"""Redis Streams by hand, to be measured by `benchmarks.backlog`: what a loop without any promise but one can do.

Reads 500 at a time with redis-py and hiredis, decodes each, and acknowledges them together: at-least-once.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

import msgspec
from redis.asyncio import Redis

from benchmarks.backlog import URL
from benchmarks.small_message import Small
from benchmarks.started import told

AT_ONCE, READ = 1000, 500
STREAM, GROUP = "small", "workers"
WORKER = ["-m", __name__]


def fill(count: int) -> None:
    """Send so many."""
    asyncio.run(_fill(count))


async def _fill(count: int) -> None:
    redis: Any = Redis.from_url(os.environ[URL])
    await redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    for first in range(0, count, AT_ONCE):
        pipeline = redis.pipeline(transaction=False)
        for number in range(first, min(count, first + AT_ONCE)):
            pipeline.xadd(STREAM, {"data": msgspec.json.encode(Small(number))})
        await pipeline.execute()
    await redis.aclose()


async def main() -> None:
    """For ever."""
    redis: Any = Redis.from_url(os.environ[URL])
    started = told()
    decoder = msgspec.json.Decoder(Small)
    while True:
        found = await redis.xreadgroup(GROUP, "one", {STREAM: ">"}, count=READ, block=1000)
        for _, entries in found:
            for _, fields in entries:
                started(decoder.decode(fields[b"data"]).number)
            await redis.xack(STREAM, GROUP, *[entry_id for entry_id, _ in entries])


if __name__ == "__main__":
    asyncio.run(main())
