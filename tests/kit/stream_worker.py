"""A worker of streams and jobs as a process of its own, to be killed: `python -m tests.kit.stream_worker …`.

It is the worker that ships. What its handlers do they write down in the database: `effects` (by transactional
handlers, so each row is there once or the promise is broken) and `runs` (past the transaction, so each run is seen).
A message with a negative number kills the process that handles it.
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
create table runs (name text not null, number int not null, pid int not null);
"""
TOPIC, TAKEN, COUNT = "orders.raw", "orders.taken", "run.count"
PARTITIONS = 4


class Order(Contract, frozen=True):
    customer: str
    number: int


class RunCount(Contract, frozen=True):
    name: str
    upto: int = 3


def module(*, url: str, takes_s: float, prefix: str) -> Module:
    """Orders that are written down and sent on, and jobs that count; addresses begin with `prefix`."""
    made = Module("orders", kind="service", summary="Takes orders.")
    retry = Retry(attempts=10, first_s=0.05, max_s=1.0)

    # A producer that got no answer sends again under the same id, and so does the outbox after a crash.
    @made.stream(f"{prefix}{TOPIC}", Order, key="customer", partitions=PARTITIONS, lanes=32, retry=retry, dedupe_s=600)
    async def take(order: Order, db: Db, emit: Emit, clock: Clock) -> None:
        if order.number < 0:
            connection = await asyncpg.connect(url)
            await connection.execute("insert into runs values ($1, $2, $3)", order.customer, order.number, os.getpid())
            await connection.close()
            os.kill(os.getpid(), signal.SIGKILL)
        if takes_s:
            await clock.sleep(takes_s)
        await _write(db, "taken", order.customer, order.number)
        await emit(f"{prefix}{TAKEN}", order, key=order.customer)

    @made.stream(f"{prefix}{TAKEN}", Order, key="customer", partitions=PARTITIONS, retry=retry, dedupe_s=600)
    async def seen(order: Order, db: Db) -> None:
        await _write(db, "seen", order.customer, order.number)

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


def chosen(url: str, directory: Path, *, mq: str, server: str) -> settings.Settings:
    """Short sessions and leases, so that what a dead process held is taken over soon."""
    environ = {
        "DB_POSTGRES_URL": url,
        "MILLRACE_MQ": mq,
        "MQ_KAFKA_BOOTSTRAP_SERVERS" if mq == "kafka" else "MQ_REDIS_STREAM_URL": server,
        "MILLRACE_LOG": "json",
        "MILLRACE_HOME": str(directory),
        "WORKER_LEASE_S": "2",
        "MQ_SESSION_S": "2",
        "MQ_REVOKE_WAIT_S": "3",
        "DRAIN_TIMEOUT_S": "10",
    }
    return settings.load(overrides={}, environ=environ, directory=directory)


async def main(given: argparse.Namespace) -> int:
    """Work until SIGTERM, or until `--until` effects are there."""
    loaded = chosen(given.url, Path(given.directory), mq=given.mq, server=given.server)
    worker = Worker(loaded, [module(url=given.url, takes_s=given.takes_s, prefix=given.prefix)])
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
    parser.add_argument("--until", type=int, default=0, help="end when so many effects are there")
    parser.add_argument("--for-s", type=float, default=60.0, help="fail after so long")
    raise SystemExit(asyncio.run(main(parser.parse_args())))
