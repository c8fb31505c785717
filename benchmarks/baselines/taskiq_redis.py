"""taskiq on Redis, to be measured by `benchmarks.backlog`; the kinds are `stream` and `list`.

As its documentation has it: one worker process, acknowledged when executed, no result backend. The list broker
acknowledges nothing: what its worker had fetched is lost when it dies. It is here because it may be the faster one.
"""

from __future__ import annotations

import asyncio
import os

from taskiq_redis import ListQueueBroker, RedisStreamBroker

from benchmarks.backlog import KIND, URL
from benchmarks.started import told

AT_ONCE = 50
WORKER = [
    "-m",
    "taskiq",
    "worker",
    f"{__name__}:broker",
    *("--workers", "1"),
    *("--ack-type", "when_executed"),
    *("--log-level", "WARNING"),
]

broker = (
    ListQueueBroker(os.environ[URL])
    if os.environ[KIND] == "list"
    else RedisStreamBroker(os.environ[URL], consumer_id="0", xread_count=500)
)
started = told()


@broker.task
async def noop(number: int) -> None:
    """The job."""
    started(number)


def fill(count: int) -> None:
    """Send so many."""
    asyncio.run(_fill(count))


async def _fill(count: int) -> None:
    await broker.startup()
    for first in range(0, count, AT_ONCE):
        await asyncio.gather(*(noop.kiq(number) for number in range(first, min(count, first + AT_ONCE))))
    await broker.shutdown()
