"""What one job takes, with more and more workers on one ledger: commands come by Kafka, and do nothing."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
import msgspec

from adapters.bus.kafka.bus import KafkaBus
from adapters.clock.system import SystemClock
from benchmarks.bed import Bed
from benchmarks.capacity.job_worker import Noop
from benchmarks.capacity.tables import round_to, table
from benchmarks.capacity.taken import Meter, Taken
from benchmarks.fresh import database
from runtime import commands
from tests.kit.waiting import until

JOBS = 10_000
WORKERS = (1, 2, 4, 8)
AT_ONCE = 500
START_WAIT_S, DONE_WAIT_S, END_WAIT_S = 60.0, 240.0, 60.0
ALIVE = "select count(*) from millrace.workers where lease_until > clock_timestamp()"
DONE = "select count(*) from millrace.jobs where state = 'done'"
FOUND = """
select count(*) / extract(epoch from max(recorded_at) - min(recorded_at))::float8 as recorded_per_s,
    count(*) / extract(epoch from max(finished_at) - min(recorded_at))::float8 as jobs_per_s,
    pg_total_relation_size('millrace.jobs') / count(*) as bytes_each
from millrace.jobs
"""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledger says of them."""

    recorded_per_s: float
    jobs_per_s: float
    bytes_each: int


async def measured(bed: Bed, of: int) -> str:
    """The table; each number of workers has the best of the rounds by their rate."""
    rows = []
    for workers in WORKERS:
        rounds = [await _once(bed, workers) for _ in range(of)]
        found, taken = max(rounds, key=lambda one: one[0].jobs_per_s)
        rows.append(
            [
                str(workers),
                round_to(found.jobs_per_s),
                round_to(found.recorded_per_s),
                round_to(taken.workers_cpu_s / JOBS * 1e6),
                round_to(taken.postgres_cpu_s / JOBS * 1e6),
                round_to(taken.kafka_cpu_s / JOBS * 1e6, 2),
                round_to(taken.transactions / JOBS, 2),
                round_to(taken.wal_bytes / JOBS, 2),
                round_to(taken.connections / workers, 2),
                str(found.bytes_each),
            ]
        )
    head = ("workers", "jobs/s here", "recorded/s here", "workers' CPU µs", "PostgreSQL CPU µs", "Kafka CPU µs")
    more = ("transactions", "WAL bytes", "connections of each worker", "bytes kept of each")
    return table((*head, *more), rows)


async def _once(bed: Bed, workers: int) -> tuple[Found, Taken]:
    """On a database of its own. The workers live before the first command is published."""
    url, kafka = await bed.postgres(), await bed.kafka()
    meter = Meter(url, kafka_pid=kafka.native.pid if kafka.native else None)
    address = f"run.noop_{secrets.token_hex(6)}"  # a group of Kafka's is of one ledger
    async with database(url, migrated=True) as db:
        connection = await asyncpg.connect(db)
        try:
            with _processes(workers, db, kafka.url, address) as processes:

                async def is_so(sql: str, count: int) -> bool:
                    assert all(process.poll() is None for process in processes), "a worker has ended"
                    return bool(await connection.fetchval(sql) == count)

                what = f"{workers} workers that live"
                await until(lambda: is_so(ALIVE, workers), timeout_s=START_WAIT_S, what=what)
                async with meter.over(db, workers=[process.pid for process in processes]) as taken:
                    await _publish(kafka.url, address)
                    await until(lambda: is_so(DONE, JOBS), timeout_s=DONE_WAIT_S, what=f"{JOBS} jobs that are done")
            [found] = await connection.fetch(FOUND)
        finally:
            await connection.close()
    return msgspec.convert(dict(found), Found), taken


async def _publish(servers: str, address: str) -> None:
    clock = SystemClock()
    bus = KafkaBus(servers, clock=clock)
    await bus.open()
    for first in range(0, JOBS, AT_ONCE):
        numbers = range(first, min(JOBS, first + AT_ONCE))
        await bus.publish(*(commands.envelope(address, Noop(n=n), contract=Noop, clock=clock) for n in numbers))
    await bus.close()


@contextmanager
def _processes(count: int, *told: str) -> Iterator[list[subprocess.Popen[bytes]]]:
    command = [sys.executable, "-m", "benchmarks.capacity.job_worker", *told]
    started = [subprocess.Popen(command, stdout=sys.stderr) for _ in range(count)]
    try:
        yield started
    finally:
        for process in started:
            process.terminate()
        for process in started:
            try:
                process.wait(END_WAIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
