"""A worker of streams and jobs as a process of its own, to be killed: `python -m tests.kit.stream_worker …`.

It is the worker that ships. What its handlers do they write down in the database: `effects` (by transactional
handlers, so each row is there once or the promise is broken) and `runs` (past the transaction, so each run is seen:
that of a message that kills, and with `--count-runs` every one that came to its end, on an at-least-once route as
well). A message with a negative number kills the process that handles it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
from pathlib import Path

import asyncpg

from contracts.job import Job
from contracts.message import Contract
from contracts.module import Module, Retry
from contracts.ports import Clock, Db, Emit
from runtime import process, settings
from runtime.worker import Worker
from tests.kit.waiting import until

TABLES = """
create table effects (at bigserial, kind text not null, name text not null, number int not null);
create table runs (kind text not null, name text not null, number int not null, pid int not null);
"""
TOPIC, TAKEN, PLAIN, COUNT = "orders.raw", "orders.taken", "orders.plain", "run.count"
PARTITIONS = 4


BRISK = {"WORKER_LEASE_S": "2", "MQ_SESSION_S": "2", "MQ_REVOKE_WAIT_S": "3", "DRAIN_TIMEOUT_S": "10"}
PATIENT = {"WORKER_LEASE_S": "20", "MQ_SESSION_S": "20", "MQ_REVOKE_WAIT_S": "20", "DRAIN_TIMEOUT_S": "30"}
"""On a busy machine nobody is taken for dead, and no short handler is cut."""


class Order(Contract, frozen=True):
    customer: str
    number: int


class RunCount(Contract, frozen=True):
    name: str
    upto: int = 3


class Runs:
    """Written down at once, on a connection of its own."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: asyncpg.Connection | None = None
        self._turn = asyncio.Lock()

    async def note(self, kind: str, order: Order) -> None:
        async with self._turn:
            if self._connection is None:
                self._connection = await asyncpg.connect(self._url)
            insert = "insert into runs values ($1, $2, $3, $4)"
            await self._connection.execute(insert, kind, order.customer, order.number, os.getpid())

    async def close(self) -> None:
        async with self._turn:
            if self._connection is not None:
                await self._connection.close()


def module(*, url: str, takes_s: float, prefix: str, count_runs: bool) -> Module:
    """Orders that are written down and sent on, and jobs that count; addresses begin with `prefix`."""
    made = Module("orders", kind="service", summary="Takes orders.")
    runs = Runs(url)
    made.on_shutdown(runs.close)
    retry = Retry(attempts=10, first_s=0.05, max_s=1.0)

    # A producer that got no answer sends again under the same id, and so does the outbox after a crash.
    @made.stream(f"{prefix}{TOPIC}", Order, key="customer", partitions=PARTITIONS, lanes=32, retry=retry, dedupe_s=600)
    async def take(order: Order, db: Db, emit: Emit, clock: Clock) -> None:
        if order.number < 0:
            await runs.note("taken", order)
            os.kill(os.getpid(), signal.SIGKILL)
        if takes_s:
            await clock.sleep(takes_s)
        await _write(db, "taken", order.customer, order.number)
        await emit(f"{prefix}{TAKEN}", order, key=order.customer)
        if count_runs:
            await runs.note("taken", order)

    @made.stream(f"{prefix}{TAKEN}", Order, key="customer", partitions=PARTITIONS, retry=retry, dedupe_s=600)
    async def seen(order: Order, db: Db) -> None:
        await _write(db, "seen", order.customer, order.number)
        if count_runs:
            await runs.note("seen", order)

    if count_runs:

        @made.stream(f"{prefix}{PLAIN}", Order, key="customer", partitions=PARTITIONS, lanes=32, retry=retry)
        async def plain(order: Order, clock: Clock) -> None:
            await clock.sleep(takes_s)
            await runs.note("plain", order)

    @made.job(f"{prefix}{COUNT}", RunCount, retry=retry)
    async def count(cmd: RunCount, job: Job, db: Db) -> int:
        for number in range(job.saved(int) or 0, cmd.upto):
            async with db.transaction() as tx:
                await tx.execute(
                    "insert into effects (kind, name, number) values ('counted', $1, $2)", cmd.name, number
                )
                await job.checkpoint(number + 1, tx=tx)
            await job.checkpoint(number + 1)
        return cmd.upto

    return made


async def _write(db: Db, kind: str, name: str, number: int) -> None:
    await db.execute("insert into effects (kind, name, number) values ($1, $2, $3)", kind, name, number)


def chosen(url: str, directory: Path, *, mq: str, server: str, patient: bool = False) -> settings.Settings:
    """Short sessions and leases, so that what a dead process held is taken over soon; or `patient` ones."""
    environ = {
        "DB_POSTGRES_URL": url,
        "MILLRACE_MQ": mq,
        "MQ_KAFKA_BOOTSTRAP_SERVERS" if mq == "kafka" else "MQ_REDIS_STREAM_URL": server,
        "MILLRACE_LOG": "json",
        "MILLRACE_HOME": str(directory),
        **(PATIENT if patient else BRISK),
    }
    return settings.load(overrides={}, environ=environ, directory=directory)


async def main(given: argparse.Namespace) -> int:
    """Work until SIGTERM, or until `--until` effects are there."""
    loaded = chosen(given.url, Path(given.directory), mq=given.mq, server=given.server, patient=given.patient)
    made = module(url=given.url, takes_s=given.takes_s, prefix=given.prefix, count_runs=given.count_runs)
    worker = Worker(loaded, [made])
    process.listen_for_signals(worker)
    await worker.start()
    print("started", flush=True)

    async def enough() -> bool:
        if worker.supervisor.stopping.is_set():
            return True
        if not given.until:
            return False
        return bool(await worker.adapters.db.fetch_value("select count(*) >= $1 from effects", given.until))

    await until(enough, timeout_s=given.for_s, what="the end")
    return process.exit_code(worker, await worker.stop())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True, help="the database of the ledger and of the effects")
    parser.add_argument("--mq", choices=("kafka", "redis-stream"), required=True)
    parser.add_argument("--server", required=True, help="the bus")
    parser.add_argument("--directory", required=True)
    parser.add_argument("--prefix", default="")
    parser.add_argument("--takes-s", type=float, default=0.0, help="what a handler waits for")
    parser.add_argument("--count-runs", action="store_true", help="write down each run that came to its end")
    parser.add_argument("--patient", action="store_true", help="take nobody for dead, and cut nothing, soon")
    parser.add_argument("--until", type=int, default=0, help="end when so many effects are there")
    parser.add_argument("--for-s", type=float, default=60.0, help="fail after so long")
    raise SystemExit(asyncio.run(main(parser.parse_args())))
