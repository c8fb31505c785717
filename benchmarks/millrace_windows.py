"""`metric_aggregator` on Kafka: `python -m benchmarks.millrace_windows URL SERVERS TOPIC COUNT`.

The worker is the one that ships: windows are saved with the position of each batch, and are in a table
once they are closed.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from benchmarks.used import Used
from contracts.aggregation import Aggregation, Measure, Results, Tumbling
from contracts.dataset import Column
from contracts.event import Event, EventTime
from contracts.module import StreamRoute
from modules import metric_aggregator
from runtime import process, settings
from runtime.worker import Worker
from tests.kit.catalog import DeclaredCatalog


def declared(topic: str) -> DeclaredCatalog:
    """Readings by sensor and minute; they may be as old as they like."""
    event = Event(
        name="reading",
        topic=topic,
        key="sensor",
        time=EventTime(column="at"),
        columns=(
            Column(name="sensor", nullable=False),
            Column(name="at", type="timestamp", nullable=False),
            Column(name="value", type="float", nullable=False),
        ),
    )
    by_minute = Aggregation(
        name="by_minute",
        event="reading",
        key=("sensor",),
        window=Tumbling(size_s=60.0),
        measures=(
            Measure(name="readings", kind="count"),
            Measure(name="total", kind="sum", of="value"),
            Measure(name="mean", kind="avg", of="value"),
        ),
        to=Results(table="by_minute"),
    )
    return DeclaredCatalog(event, by_minute)


async def main(url: str, servers: str, topic: str, count: int) -> None:
    """Messages a second, from the first batch in hand to the commit of the last."""
    taken, began_at, done = 0, 0.0, asyncio.Event()
    module = metric_aggregator.module.configured(declared(topic))
    [route] = module.routes
    assert isinstance(route, StreamRoute)
    handler = route.handler

    @functools.wraps(handler)
    async def counted(batch: Sequence[Any], *args: Any, **kwargs: Any) -> None:
        nonlocal taken, began_at
        began_at = began_at or time.perf_counter()
        await handler(batch, *args, **kwargs)
        taken += len(batch)
        if taken >= count:
            done.set()

    module.routes = [msgspec.structs.replace(route, handler=counted, group=f"millrace-{os.getpid()}")]
    with TemporaryDirectory() as directory:
        environ = {
            "DB_POSTGRES_URL": url,
            "MILLRACE_MQ": "kafka",
            "MQ_KAFKA_BOOTSTRAP_SERVERS": servers,
            "MILLRACE_HOME": directory,
            "MILLRACE_LOG": "json",
            "LOG_LEVEL": "warn",
        }
        worker = Worker(settings.load(overrides={}, environ=environ, directory=Path(directory)), [module])
        await worker.start()
        process.collect_less_often()  # as in every process of a worker
        used = Used()
        await done.wait()
        for consumer in worker.streams.consumers:
            await consumer.idle.wait()
        await worker.streams.commit()
        seconds = time.perf_counter() - began_at
        taken_each = used.by(count)
        closed = await worker.adapters.db.fetch_value("select count(*) from by_minute")
        await worker.stop()
    print(json.dumps({"messages_per_s": count / seconds, "windows": float(closed)} | taken_each))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
