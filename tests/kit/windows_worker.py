"""A worker of `metric_aggregator` over taxi trips, to be killed: `python -m tests.kit.windows_worker …`.

It is the worker that ships, and works until SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from modules.metric_aggregator import module
from runtime import process
from runtime.worker import Worker, run_until_stopped
from tests.kit import taxi_windows
from tests.kit.catalog import DeclaredCatalog
from tests.kit.stream_worker import chosen

PARTITIONS = 6
NAME = "tumbling_1h"


async def main(given: argparse.Namespace) -> int:
    """The exit code."""
    settings = chosen(given.url, Path(given.directory), mq=given.mq, server=given.server)
    answer = taxi_windows.answers(Path(given.reference))[NAME]
    event = taxi_windows.trip_event(given.topic, partitions=PARTITIONS)
    made = module.configured(DeclaredCatalog(event, taxi_windows.aggregation(NAME, answer)))
    worker = Worker(settings, [made])
    process.listen_for_signals(worker)
    return process.exit_code(worker, await run_until_stopped(worker))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True, help="the database")
    parser.add_argument("--mq", choices=("kafka", "redis-stream"), required=True)
    parser.add_argument("--server", required=True, help="the bus")
    parser.add_argument("--topic", required=True)
    parser.add_argument("--directory", required=True)
    parser.add_argument("--reference", required=True, help="the folder of the reference data")
    raise SystemExit(asyncio.run(main(parser.parse_args())))
