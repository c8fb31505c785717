"""A worker of streams on Kafka: `python -m benchmarks.millrace_streams SERVERS URL TOPIC COUNT MODE TAKES_S`.

`MODE` is `batch`, or anything else for one message a call.

The routes are at-least-once, as their rivals are at best; positions, suspects and the ledger are as they ship.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.stream_message import Order
from benchmarks.used import Used
from contracts.module import Batch, Module
from runtime import process, settings
from runtime.worker import Worker


async def main(servers: str, url: str, topic: str, count: int, mode: str, takes_s: float) -> None:
    """Messages a second, from the first that is handled (of a batch, all: they are decoded by then) to the commit of
    the last; `disorder` counts keys that went back."""
    module = Module("bench", kind="service", summary="Handles what is measured.")
    group = f"millrace-{os.getpid()}"
    handled, before, began_at, done = 0, 0, 0.0, asyncio.Event()
    last: dict[str, int] = {}
    disorder = 0

    def count_in(rows: int) -> None:
        nonlocal handled
        handled += rows
        if handled >= count:
            done.set()

    if mode == "batch":

        @module.stream(topic, Order, batch=Batch(rows=5000, wait_s=0.05), group=group)
        async def handle_all(orders: Sequence[Order]) -> None:
            nonlocal began_at, before
            if not began_at:
                began_at, before = time.perf_counter(), len(orders)
            count_in(len(orders))

    else:

        @module.stream(topic, Order, lanes=256, group=group)
        async def handle(order: Order) -> None:
            nonlocal began_at, disorder
            began_at = began_at or time.perf_counter()
            if takes_s:
                disorder += last.get(order.customer, -1) >= order.number
                last[order.customer] = order.number
                await asyncio.sleep(takes_s)  # noqa: TID251 - what the handler takes
            count_in(1)

    with TemporaryDirectory() as directory:
        environ = {
            "DB_POSTGRES_URL": url,
            "MILLRACE_MQ": "kafka",
            "MQ_KAFKA_BOOTSTRAP_SERVERS": servers,
            "MILLRACE_LOG": "json",
            "LOG_LEVEL": "warn",
        }
        chosen = settings.load(overrides={}, environ=environ, directory=Path(directory))
        worker = Worker(chosen, [module])
        await worker.start()
        process.collect_less_often()  # as in every process of a worker
        used = Used()
        await done.wait()
        await worker.streams.commit()
        figures = {"messages_per_s": (count - before) / (time.perf_counter() - began_at)} | used.by(count)
        await worker.stop()
    print(json.dumps(figures | ({"disorder": float(disorder)} if takes_s else {})))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5], float(sys.argv[6])))
