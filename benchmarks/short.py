"""The short form of each module's benchmark: only ours, and so little that all of them take some minutes.

The programs are those of the long forms, which have the baselines; only there do they meet.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
import msgspec

from adapters.database.postgres import PostgresDb
from benchmarks import api_gateway, checked_orders, ingest, orders_csv, streams, windows
from benchmarks.bed import Bed
from benchmarks.fresh import database
from benchmarks.history.record import Better, Setting

Commands = dict[str, list[str]]
"""What is run in each round, by name."""


class Wanted(msgspec.Struct, frozen=True):
    """One of the figures that a command prints, and how it is called in the history."""

    of: str
    """The command's name."""
    key: str
    name: str
    unit: str
    better: Better


class Short(msgspec.Struct, frozen=True, kw_only=True):
    """What to measure. A change of its settings makes its figures others, which are not compared with those before."""

    what: str
    settings: dict[str, Setting]
    wanted: tuple[Wanted, ...]
    commands: Callable[[Bed], AbstractAsyncContextManager[Commands]]


ROWS, EVENTS, INGESTED, WINDOWED, ENRICHED, REPLAYED, JOBS = 300_000, 100_000, 150_000, 200_000, 40_000, 20_000, 5_000
SECONDS = 2.0
"""Of requests to the read API."""


@asynccontextmanager
async def _batch_etl(bed: Bed) -> AsyncIterator[Commands]:
    with TemporaryDirectory(prefix="millrace-bench-") as directory:
        path = Path(directory) / "orders.csv"
        orders_csv.write(path, ROWS)
        fresh = ["-m", "benchmarks.fresh", await bed.postgres()]
        yield {"load": [*fresh, "benchmarks.millrace_etl", str(path)]}


@asynccontextmanager
async def _stream_ingest(bed: Bed) -> AsyncIterator[Commands]:
    kafka = await bed.kafka()
    async with database(await bed.postgres(), migrated=True) as db, ingest.filled(kafka, INGESTED) as topic:
        ours = ["-m", "benchmarks.millrace_ingest", kafka.url, db, topic, str(INGESTED), str(ingest.PARTITIONS)]
        yield {"merge": [*ours, "merge"], "copy": [*ours, "copy"]}


@asynccontextmanager
async def _event_enricher(bed: Bed) -> AsyncIterator[Commands]:
    kafka = await bed.kafka()
    async with database(await bed.postgres(), migrated=True) as db, streams.filled(kafka, ENRICHED) as topic:
        yield {"enrich": ["-m", "benchmarks.millrace_enricher", db, topic, str(ENRICHED), "60", kafka.url]}


@asynccontextmanager
async def _metric_aggregator(bed: Bed) -> AsyncIterator[Commands]:
    kafka = await bed.kafka()
    fresh = ["-m", "benchmarks.fresh", await bed.postgres()]
    async with windows.filled(kafka, WINDOWED) as topic:
        yield {"windows": [*fresh, "benchmarks.millrace_windows", kafka.url, topic, str(WINDOWED)]}


@asynccontextmanager
async def _stream_replay(bed: Bed) -> AsyncIterator[Commands]:
    kafka = await bed.kafka()
    fresh = ["-m", "benchmarks.fresh", await bed.postgres()]
    async with streams.filled(kafka, REPLAYED) as topic:
        yield {"replay": [*fresh, "benchmarks.millrace_replay", kafka.url, topic, str(REPLAYED)]}


@asynccontextmanager
async def _data_quality(bed: Bed) -> AsyncIterator[Commands]:
    async with database(await bed.postgres(), migrated=True) as url:
        connection = await asyncpg.connect(url)
        await connection.execute(checked_orders.made(ROWS))
        await connection.execute("vacuum (analyze) orders")
        await connection.execute("vacuum (analyze) customers")
        await connection.close()
        yield {"suite": ["-m", "benchmarks.millrace_quality", url]}


@asynccontextmanager
async def _api_gateway(bed: Bed) -> AsyncIterator[Commands]:
    async with database(await bed.postgres(), migrated=True) as url:
        db = PostgresDb(url)
        await db.open()
        await db.execute(api_gateway.TABLE)
        await db.close()
        ours = ["-m", "benchmarks.millrace_api", url, str(SECONDS)]
        yield {"cached": [*ours, "600"], "read": [*ours, "0"]}


@asynccontextmanager
async def _jobs(bed: Bed) -> AsyncIterator[Commands]:
    yield {"jobs": ["-m", "benchmarks.fresh", await bed.postgres(), "benchmarks.millrace_jobs", str(JOBS)]}


@asynccontextmanager
async def _streams(bed: Bed) -> AsyncIterator[Commands]:
    kafka = await bed.kafka()
    async with database(await bed.postgres(), migrated=True) as db, streams.filled(kafka, EVENTS) as topic:
        ours = ["-m", "benchmarks.millrace_streams", kafka.url, db, topic, str(EVENTS)]
        yield {"single": [*ours, "single", "0"], "batch": [*ours, "batch", "0"]}


@asynccontextmanager
async def _start(bed: Bed) -> AsyncIterator[Commands]:
    yield {"start": ["-m", "benchmarks.fresh", await bed.postgres(), "benchmarks.start", "--once"]}


def _rate(of: str, name: str, unit: str, *, key: str = "messages_per_s") -> Wanted:
    return Wanted(of, key, name, unit, "more")


def _memory(of: str) -> Wanted:
    return Wanted(of, "peak_mb", "memory", "MB", "less")


SHORT: dict[str, Short] = {
    "batch_etl": Short(
        what="a CSV into an empty table",
        settings={"rows": ROWS},
        wanted=(_rate("load", "first load", "rows/s", key="rows_per_s"), _memory("load")),
        commands=_batch_etl,
    ),
    "stream_ingest": Short(
        what="events from Kafka into PostgreSQL",
        settings={"events": INGESTED, "partitions": ingest.PARTITIONS},
        wanted=(
            _rate("merge", "with a key", "events/s"),
            _rate("copy", "without a key", "events/s"),
            _memory("merge"),
        ),
        commands=_stream_ingest,
    ),
    "event_enricher": Short(
        what="events looked up and sent on through the outbox, on Kafka",
        settings={"events": ENRICHED, "partitions": streams.PARTITIONS},
        wanted=(_rate("enrich", "looked up, sent on", "events/s"), _memory("enrich")),
        commands=_event_enricher,
    ),
    "metric_aggregator": Short(
        what="count, sum and average by key and minute, from Kafka",
        settings={"events": WINDOWED, "partitions": windows.PARTITIONS},
        wanted=(_rate("windows", "into windows", "events/s"), _memory("windows")),
        commands=_metric_aggregator,
    ),
    "stream_replay": Short(
        what="a topic into another one, on Kafka",
        settings={"events": REPLAYED, "partitions": streams.PARTITIONS},
        wanted=(_rate("replay", "replayed", "events/s"), _memory("replay")),
        commands=_stream_replay,
    ),
    "data_quality": Short(
        what="eight checks of a table",
        settings={"rows": ROWS},
        wanted=(Wanted("suite", "seconds", "a suite", "s", "less"),),
        commands=_data_quality,
    ),
    "api_gateway": Short(
        what="rows by key over HTTP",
        settings={"seconds": SECONDS},
        wanted=(
            _rate("cached", "cached", "requests/s", key="requests_per_s"),
            Wanted("cached", "p99_ms", "cached, p99", "ms", "less"),
            _rate("read", "not cached", "requests/s", key="requests_per_s"),
        ),
        commands=_api_gateway,
    ),
    "jobs": Short(
        what="the runtime: jobs that do nothing",
        settings={"jobs": JOBS},
        wanted=(
            _rate("jobs", "done", "jobs/s", key="jobs_per_s"),
            Wanted("jobs", "p50_ms", "to its start, p50", "ms", "less"),
            Wanted("jobs", "p99_ms", "to its start, p99", "ms", "less"),
        ),
        commands=_jobs,
    ),
    "streams": Short(
        what="the runtime: messages that are only decoded, on Kafka",
        settings={"messages": EVENTS, "partitions": streams.PARTITIONS},
        wanted=(
            _rate("single", "one a call", "messages/s"),
            _rate("batch", "in batches", "messages/s"),
            _memory("batch"),
        ),
        commands=_streams,
    ),
    "start": Short(
        what="the runtime: from the shell prompt to the first line of a job",
        settings={},
        wanted=(Wanted("start", "to_the_job_ms", "to the job", "ms", "less"),),
        commands=_start,
    ),
}
