"""What partitions cost one worker: the same events in fewer or more of them, each with transactions of its own."""

from __future__ import annotations

from benchmarks import ingest
from benchmarks.bed import Bed
from benchmarks.capacity.events import Route, once
from benchmarks.capacity.tables import round_to, table
from benchmarks.capacity.taken import Meter

EVENTS = 150_000
NUMBERS = (1, 8, 32, 128)


async def measured(bed: Bed, of: int) -> str:
    """The table: `stream_ingest` into a table without a key, the best of the rounds by their rate."""
    url, kafka = await bed.postgres(), await bed.kafka()
    meter = Meter(url, kafka_pid=kafka.native.pid if kafka.native else None)
    rows = []
    for number in NUMBERS:
        async with ingest.filled(kafka, EVENTS, partitions=number) as topic:
            told = [topic, str(EVENTS), str(number), "copy"]

            def command(db: str, told: list[str] = told) -> list[str]:
                return ["-m", "benchmarks.millrace_ingest", kafka.url, db, *told]

            route = Route(name=str(number), count=EVENTS, command=command)
            found = [await once(route, url, meter) for _ in range(of)]
        best = max(found, key=lambda one: one.figures["messages_per_s"])
        rows.append(
            [
                str(number),
                round_to(best.figures["messages_per_s"]),
                round_to(best.figures["cpu_us_each"]),
                round_to(best.figures["peak_mb"], 2),
                round_to(best.taken.postgres_cpu_s / EVENTS * 1e6, 2),
                round_to(best.taken.transactions / EVENTS * 1000, 2),
                round_to(best.taken.wal_bytes / EVENTS, 2),
            ]
        )
    head = ("partitions of one worker", "events/s here", "worker CPU µs", "worker MB", "PostgreSQL CPU µs")
    return table((*head, "transactions per 1,000", "WAL bytes"), rows)
