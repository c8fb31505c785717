"""A worker of jobs that do nothing, on Kafka: `python -m benchmarks.capacity.job_worker URL SERVERS
ADDRESS`, until it is told to end."""

from __future__ import annotations

import asyncio
import sys
from tempfile import TemporaryDirectory

from benchmarks.workers import serve, settings_of
from contracts.message import Contract
from contracts.module import Module
from runtime.worker import Worker

SLOTS = 200


class Noop(Contract, frozen=True):
    n: int


async def noop(cmd: Noop) -> None:
    """Nothing: what is left is what the runtime takes."""


async def main(url: str, servers: str, address: str) -> None:
    module = Module("bench", kind="job", summary="Does nothing, often.")
    module.job(address, Noop, concurrency=SLOTS)(noop)
    with TemporaryDirectory() as directory:
        chosen = settings_of(directory, url, "kafka", servers, JOB_SLOTS=str(SLOTS))
        await serve(Worker(chosen, [module]))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
