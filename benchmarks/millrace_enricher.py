"""A worker of `event_enricher`: `python -m benchmarks.millrace_enricher URL TOPIC COUNT FRESH_S SERVERS`.

Without `SERVERS` the bus is in memory, and is filled first. `FRESH_S` is how long what was looked up is kept.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from benchmarks.stream_message import Order
from benchmarks.used import Used
from contracts.message import Envelope
from modules.event_enricher import module
from runtime import process, settings
from runtime.wiring import Adapters
from runtime.worker import Worker

KEYS = 1000
EVENT = """\
name: order
topic: {topic}
key: customer
columns: [{{name: customer}}, {{name: number, type: int}}, {{name: price, type: float}}, {{name: note}}]
"""
ENRICHMENT = """\
name: e{name}
event: order
to: {topic}.named
side: {topic}.unknown
lookup:
  table: customers
  key: id
  by: customer
  fresh_s: {fresh_s}
  add: [{{column: name}}, {{column: region}}]
"""
TABLE = """
create table if not exists customers (id text primary key, name text, region int);
insert into customers select 'c' || n, 'name of ' || n, n % 10 from generate_series(0, 999) n on conflict do nothing
"""


async def main(url: str, topic: str, count: int, fresh_s: str, servers: str) -> None:
    """Events a second, from the start of the worker to the confirmation of the last by the bus; `cpu_s` is the
    worker's own."""
    with TemporaryDirectory() as directory:
        catalog = Path(directory) / "catalog"
        name = os.getpid()
        for folder, file, text in [
            ("events", "order", EVENT.format(topic=topic)),
            ("enrichments", f"e{name}", ENRICHMENT.format(name=name, topic=topic, fresh_s=fresh_s)),
        ]:
            (catalog / folder).mkdir(parents=True)
            (catalog / folder / f"{file}.yaml").write_text(text)
        environ = {"DB_POSTGRES_URL": url, "MILLRACE_LOG": "json", "LOG_LEVEL": "warn", "CATALOG_DIR": str(catalog)}
        if servers:
            environ |= {"MILLRACE_MQ": "kafka", "MQ_KAFKA_BOOTSTRAP_SERVERS": servers}
        chosen = settings.load(overrides={}, environ=environ, directory=Path(directory))
        adapters = Adapters(chosen)
        await adapters.db.open()
        await adapters.db.execute(TABLE)
        worker = Worker(chosen, [module], adapters=adapters)
        sent, done = 0, asyncio.Event()
        publish = adapters.bus.publish

        async def counted(*envelopes: Envelope) -> None:
            nonlocal sent
            await publish(*envelopes)
            sent += sum(envelope.address.endswith(".named") for envelope in envelopes)
            if sent >= count:
                done.set()

        adapters.bus.publish = counted  # type: ignore[method-assign]
        await worker.start()
        process.collect_less_often()  # as in every process of a worker
        began_at, used = time.perf_counter(), Used()
        if not servers:
            for start in range(0, count, 1000):
                await publish(*(_envelope(topic, number) for number in range(start, min(count, start + 1000))))
        await done.wait()
        took_s = time.perf_counter() - began_at
        figures = {"messages_per_s": count / took_s} | used.by(count)
        await worker.stop()
    print(json.dumps(figures))


def _envelope(topic: str, number: int) -> Envelope:
    key = f"c{number % KEYS}"
    body = msgspec.json.encode(Order(customer=key, number=number // KEYS, price=9.5, note="x" * 40))
    return Envelope(id=f"m{number}", address=topic, body=body, key=key)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5]))
