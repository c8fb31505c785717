"""`stream_ingest` on Kafka: `python -m benchmarks.millrace_ingest SERVERS URL TOPIC COUNT PARTITIONS WAY`.

`WAY` is `merge` (into a table with a key), `copy` (without) or `lake`. The worker is the one that ships.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from benchmarks.ingest_message import event, order_id
from benchmarks.used import Used
from contracts.module import Module, StreamRoute
from modules import stream_ingest
from runtime import process, settings
from runtime.worker import Worker
from tests.kit.catalog import DeclaredCatalog


class Counted:
    """What was handed to the handler, and since when."""

    def __init__(self, count: int) -> None:
        self.began_at = 0.0
        self.rows = 0
        self.done = asyncio.Event()
        self._count = count

    def around(self, handler: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(handler)
        async def land(batch: Sequence[bytes], *args: Any, **kwargs: Any) -> None:
            self.began_at = self.began_at or time.perf_counter()
            await handler(batch, *args, **kwargs)
            self.rows += len(batch)
            if self.rows >= self._count:
                self.done.set()

        return land


def module(topic: str, table: str, partitions: int, way: str, counted: Counted) -> Module:
    """In a group of its own, so that it begins at the beginning."""
    declared = event(topic, table, partitions, way=way)
    made = stream_ingest.module.configured(DeclaredCatalog(declared))
    made.routes = [
        msgspec.structs.replace(route, handler=counted.around(route.handler), group=f"millrace-{os.getpid()}")
        for route in made.routes
        if isinstance(route, StreamRoute)
    ]
    return made


async def main(servers: str, url: str, topic: str, count: int, partitions: int, way: str) -> None:
    """Messages a second, from the first batch in hand to the commit of the last."""
    counted, table = Counted(count), f"ours_{os.getpid()}"
    expected = count if way == "copy" else len(set(map(order_id, range(count))))
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
        worker = Worker(chosen, [module(topic, table, partitions, way, counted)])
        await worker.start()
        process.collect_less_often()  # as in every process of a worker
        used = Used()
        await counted.done.wait()
        while (
            way != "lake" and await worker.adapters.db.fetch_value(f"select count(*) from {table}") < expected  # noqa: S608
        ):
            await asyncio.sleep(0.005)  # noqa: TID251 - the last of them commit
        for consumer in worker.streams.consumers:
            await consumer.idle.wait()
        await worker.streams.commit()
        figures = {"messages_per_s": count / (time.perf_counter() - counted.began_at)} | used.by(count)
        await worker.adapters.db.execute(f"drop table if exists {table}")
        await worker.stop()
    print(json.dumps(figures))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]), sys.argv[6]))
