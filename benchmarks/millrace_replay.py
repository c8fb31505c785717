"""`stream_replay` by a worker on Kafka: `python -m benchmarks.millrace_replay URL SERVERS TOPIC COUNT`.

The clock runs from the publishing of `run.stream_replay` to the settled job: everything is on the other topic by then,
confirmed by the broker.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from benchmarks.one_job import settled
from benchmarks.used import Used
from contracts.stream_replay import RunStreamReplay
from runtime import process, registry, settings
from runtime.worker import Worker


async def main(url: str, servers: str, topic: str, count: int) -> None:
    """Messages a second, of a topic that has so many."""
    with TemporaryDirectory() as directory:
        environ = {
            "DB_POSTGRES_URL": url,
            "MILLRACE_MQ": "kafka",
            "MQ_KAFKA_BOOTSTRAP_SERVERS": servers,
            "MILLRACE_HOME": directory,
            "MILLRACE_LOG": "json",
            "LOG_LEVEL": "warn",
        }
        chosen = settings.load(overrides={}, environ=environ, directory=Path(directory))
        address = f"run.stream_replay_{os.getpid()}"  # a group of Kafka's is of one ledger
        [module] = registry.load(["stream_replay"])
        module.routes = [msgspec.structs.replace(route, address=address) for route in module.routes]
        worker = Worker(chosen, [module])
        await worker.start()
        process.collect_less_often()  # as in every process of a worker
        used = Used()
        command = RunStreamReplay(topic=topic, into=f"{topic}.again.{os.getpid()}")
        row, seconds = await settled(worker, command, address=address)
        figures = {"messages_per_s": count / seconds} | used.by(count)
        await worker.stop()
    assert row.result["messages"] == count, row
    print(json.dumps(figures))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
