"""Millrace on Redis Streams, to be measured by `benchmarks.backlog`; the kinds are `single` and `batch`.

The routes are at-least-once, as their rivals are; positions, suspects and the ledger are as they ship, and messages are
published by the bus, with keys, ids and times.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from tempfile import TemporaryDirectory

import msgspec

from adapters.bus.redis_stream.bus import RedisStreamBus
from adapters.clock.system import SystemClock
from benchmarks.backlog import KIND, URL
from benchmarks.small_message import Small
from benchmarks.started import told
from benchmarks.workers import serve, settings_of
from contracts.message import Envelope
from contracts.module import Batch, Module
from runtime.worker import Worker

DATABASE = "BENCH_DATABASE"
AT_ONCE, KEYS = 1000, 1000
STREAM = "small"
WORKER = ["-m", __name__]


def fill(count: int) -> None:
    """Send so many."""
    asyncio.run(_fill(count))


async def _fill(count: int) -> None:
    bus = RedisStreamBus(os.environ[URL], clock=SystemClock())
    await bus.open()
    for first in range(0, count, AT_ONCE):
        await bus.publish(*(_envelope(number) for number in range(first, min(count, first + AT_ONCE))))
    await bus.close()


def _envelope(number: int) -> Envelope:
    return Envelope(id="", address=STREAM, body=msgspec.json.encode(Small(number)), key=f"k{number % KEYS}")


def _module() -> Module:
    module = Module("bench", kind="service", summary="Handles what is measured.")
    group, started = f"millrace-{os.getpid()}", told()

    if os.environ[KIND] == "batch":

        @module.stream(STREAM, Small, batch=Batch(rows=5000, wait_s=0.05), group=group)
        async def handle_all(messages: Sequence[Small]) -> None:
            for message in messages:
                started(message.number)

    else:

        @module.stream(STREAM, Small, group=group)
        async def handle(message: Small) -> None:
            started(message.number)

    return module


async def main() -> None:
    """Until it is told to end."""
    with TemporaryDirectory() as directory:
        chosen = settings_of(directory, os.environ[DATABASE], "redis-stream", os.environ[URL])
        await serve(Worker(chosen, [_module()]))


if __name__ == "__main__":
    asyncio.run(main())
