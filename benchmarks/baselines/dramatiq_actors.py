"""dramatiq on Redis, to be measured by `benchmarks.backlog`.

At-least-once as it is by design; one process of 8 threads, its default, and no result backend.
"""

from __future__ import annotations

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks.backlog import URL
from benchmarks.started import told

WORKER = ["-m", "dramatiq", __name__, "--processes", "1", "--threads", "8"]

broker = RedisBroker(url=os.environ[URL])  # type: ignore[no-untyped-call]
dramatiq.set_broker(broker)
started = told()


@dramatiq.actor
def noop(number: int) -> None:
    """The job."""
    started(number)


def fill(count: int) -> None:
    """Send so many."""
    for number in range(count):
        noop.send(number)
