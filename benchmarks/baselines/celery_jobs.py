"""Celery on Redis, to be measured by `benchmarks.backlog`; the kinds are `solo` and `prefork`.

At-least-once by `task_acks_late`. As its documentation has it for short tasks: results ignored, many of them prefetched
for each process, no events, and none of the talk between workers.
"""

from __future__ import annotations

import os

from celery import Celery  # type: ignore[import-untyped]

from benchmarks.backlog import KIND, URL
from benchmarks.started import told

POOL = ["--pool", "solo"] if os.environ[KIND] == "solo" else ["--pool", "prefork", "--concurrency", "2"]
QUIET = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"]
WORKER = ["-m", "celery", "--app", __name__, "worker", *POOL, *QUIET]

app = Celery("bench", broker=os.environ[URL])
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=128,
    worker_disable_rate_limits=True,
    worker_enable_remote_control=False,
    broker_connection_retry_on_startup=True,
)
started = told()


@app.task  # type: ignore[untyped-decorator]
def noop(number: int) -> None:
    """The job."""
    started(number)


def fill(count: int) -> None:
    """Send so many, over one connection."""
    with app.producer_pool.acquire(block=True) as producer:
        for number in range(count):
            noop.apply_async((number,), producer=producer)
