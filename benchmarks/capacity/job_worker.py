"""A worker of jobs that do nothing, on Kafka: `python -m benchmarks.capacity.job_worker URL SERVERS
ADDRESS`, until it is told to end."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from contracts.message import Contract
from contracts.module import Module
from runtime import process, settings
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
        environ = {
            "DB_POSTGRES_URL": url,
            "MILLRACE_MQ": "kafka",
            "MQ_KAFKA_BOOTSTRAP_SERVERS": servers,
            "MILLRACE_HOME": directory,
            "MILLRACE_LOG": "json",
            "LOG_LEVEL": "warn",
            "JOB_SLOTS": str(SLOTS),
        }
        worker = Worker(settings.load(overrides={}, environ=environ, directory=Path(directory)), [module])
        ended = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
        await worker.start()
        process.collect_less_often()  # as in every process of a worker
        await ended.wait()
        await worker.stop()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
