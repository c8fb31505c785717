"""What one event takes of the worker, of PostgreSQL and of Kafka, route by route, with one worker: the least of the
rounds, as whatever else runs on the machine only adds, and the best rate."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
import msgspec

from benchmarks import ingest, rounds, streams, windows
from benchmarks.bed import Bed
from benchmarks.capacity.tables import round_to, table
from benchmarks.capacity.taken import Meter, Taken
from benchmarks.fresh import database

ORDERS, LOOKED_UP, REPLAYED, INGESTED, WINDOWED = 300_000, 100_000, 30_000, 200_000, 300_000
LEDGER = """
select coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint from pg_class c
where c.relnamespace = 'millrace'::regnamespace and c.relkind = 'r'
"""


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """What is measured; `command` is made of a database's URL."""

    name: str
    count: int
    command: Callable[[str], list[str]]


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One round."""

    figures: rounds.Figures
    taken: Taken
    ledger_bytes: int


@asynccontextmanager
async def routes(bed: Bed) -> AsyncIterator[list[Route]]:
    kafka = await bed.kafka()
    servers = kafka.url
    async with AsyncExitStack() as stack:
        orders = await stack.enter_async_context(streams.filled(kafka, ORDERS))
        fewer = await stack.enter_async_context(streams.filled(kafka, REPLAYED))
        placed = await stack.enter_async_context(ingest.filled(kafka, INGESTED))
        readings = await stack.enter_async_context(windows.filled(kafka, WINDOWED))

        def ingested(way: str) -> Callable[[str], list[str]]:
            told = [placed, str(INGESTED), str(ingest.PARTITIONS), way]
            return lambda db: ["-m", "benchmarks.millrace_ingest", servers, db, *told]

        def handled(way: str, count: int) -> Callable[[str], list[str]]:
            return lambda db: ["-m", "benchmarks.millrace_streams", servers, db, orders, str(count), way, "0"]

        def enriched(db: str) -> list[str]:
            return ["-m", "benchmarks.millrace_enricher", db, orders, str(LOOKED_UP), "60", servers]

        def aggregated(db: str) -> list[str]:
            return ["-m", "benchmarks.millrace_windows", db, servers, readings, str(WINDOWED)]

        def replayed(db: str) -> list[str]:
            return ["-m", "benchmarks.millrace_replay", db, servers, fewer, str(REPLAYED)]

        yield [
            Route(name="`stream_ingest`, table with a key", count=INGESTED, command=ingested("merge")),
            Route(name="`stream_ingest`, table without", count=INGESTED, command=ingested("copy")),
            Route(name="`stream_ingest`, a lake of Parquet", count=INGESTED, command=ingested("lake")),
            Route(name="`metric_aggregator`", count=WINDOWED, command=aggregated),
            Route(name="`event_enricher`", count=LOOKED_UP, command=enriched),
            Route(name="`stream_replay`", count=REPLAYED, command=replayed),
            Route(name="a stream's own overhead, batches", count=ORDERS, command=handled("batch", ORDERS)),
            Route(name="a stream's own overhead, one a call", count=LOOKED_UP, command=handled("single", LOOKED_UP)),
        ]


async def measured(bed: Bed, of: int) -> str:
    """The table."""
    url, kafka = await bed.postgres(), await bed.kafka()
    meter = Meter(url, kafka_pid=kafka.native.pid if kafka.native else None)
    rows = []
    async with routes(bed) as found:
        for route in found:
            rows.append(_row(route, [await once(route, url, meter) for _ in range(of)]))
            print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    head = (
        *("one worker, 8 partitions", "events/s here", "worker CPU µs", "computed: events/s on a core of its own"),
        *("worker MB", "PostgreSQL CPU µs", "Kafka CPU µs", "transactions per 1,000", "WAL bytes", "connections"),
        "ledger afterwards, kB",
    )
    return table(head, rows)


async def once(route: Route, url: str, meter: Meter) -> Measured:
    """On a database of its own."""
    async with database(url, migrated=True) as db:
        async with meter.over(db) as taken:
            figures = await asyncio.to_thread(rounds.once, route.name, route.command(db))
        connection = await asyncpg.connect(db)
        ledger_bytes = await connection.fetchval(LEDGER)
        await connection.close()
    return Measured(figures=figures, taken=taken, ledger_bytes=ledger_bytes)


def _row(route: Route, found: list[Measured]) -> list[str]:
    def least(of: Callable[[Measured], float]) -> float:
        return min(map(of, found))

    cpu_us = least(lambda one: one.figures["cpu_us_each"])
    each_us = 1e6 / route.count
    return [
        route.name,
        round_to(max(one.figures["messages_per_s"] for one in found)),
        round_to(cpu_us),
        round_to(1e6 / cpu_us, 2),
        round_to(least(lambda one: one.figures["peak_mb"]), 2),
        round_to(least(lambda one: one.taken.postgres_cpu_s) * each_us, 2),
        round_to(least(lambda one: one.taken.kafka_cpu_s) * each_us, 2),
        round_to(least(lambda one: one.taken.transactions) / route.count * 1000, 2),
        round_to(least(lambda one: one.taken.wal_bytes) / route.count, 2),
        str(max(one.taken.connections for one in found)),
        round_to(least(lambda one: one.ledger_bytes) / 1000, 3),
    ]
