"""arq, to be measured by `benchmarks.backlog`.

At-least-once as it is by design; from its documentation, for short jobs: many at once, a short poll, results not kept.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any, ClassVar

from arq import create_pool  # type: ignore[import-not-found]  # it has an environment of its own
from arq.connections import RedisSettings  # type: ignore[import-not-found]
from arq.worker import run_worker  # type: ignore[import-not-found]

from benchmarks.backlog import URL
from benchmarks.started import told

AT_ONCE = 50
WORKER = ["-m", __name__]

started = told()
server = RedisSettings.from_dsn(os.environ[URL])


async def noop(_context: dict[str, Any], number: int) -> None:
    """The job."""
    started(number)


class WorkerSettings:
    """What its worker is given."""

    functions: ClassVar = [noop]
    redis_settings = server
    max_jobs = 100
    poll_delay = 0.01
    keep_result = 0
    log_results = False


def fill(count: int) -> None:
    """Send so many."""
    asyncio.run(_fill(count))


async def _fill(count: int) -> None:
    pool = await create_pool(server)
    for first in range(0, count, AT_ONCE):
        sent = (pool.enqueue_job("noop", number) for number in range(first, min(count, first + AT_ONCE)))
        await asyncio.gather(*sent)
    await pool.aclose()


if __name__ == "__main__":
    run_worker(WorkerSettings)  # as its command line does, which also logs two lines a job
