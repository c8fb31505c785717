"""What is taken meanwhile: processor time of servers and workers, transactions, write-ahead log, connections."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import asyncpg
import psutil

from benchmarks.bed import CannotMeasure
from benchmarks.server import GIVEN

LOOK_EVERY_S = 0.05
TOTALS = """
select (select xact_commit from pg_stat_database where datname = $1) as transactions,
    pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint as wal_bytes
"""
CONNECTIONS = "select count(*) from pg_stat_activity where datname = $1 and backend_type = 'client backend'"


@dataclass
class Taken:
    """Of one measurement, complete when its block has ended; processor times in seconds."""

    seconds: float = 0.0
    postgres_cpu_s: float = 0.0
    kafka_cpu_s: float = 0.0
    workers_cpu_s: float = 0.0
    transactions: int = 0
    wal_bytes: int = 0
    connections: int = 0
    """The most at one moment."""
    _began: dict[str, float] = field(default_factory=dict)


class Meter:
    """On a PostgreSQL of this machine, whose processes can be looked at; `kafka_pid` None: not looked at."""

    def __init__(self, url: str, *, kafka_pid: int | None) -> None:
        self._url = url
        self._kafka = None if kafka_pid is None else psutil.Process(kafka_pid)

    @asynccontextmanager
    async def over(self, database_url: str, *, workers: Sequence[int] = ()) -> AsyncIterator[Taken]:
        """While the block runs, in that database and by those processes. Backends that end meanwhile are counted; what
        they committed is too, as they tell it when they end. Raises `CannotMeasure`."""
        name = urlsplit(database_url).path.lstrip("/")
        connection = await asyncpg.connect(self._url)
        try:
            postmaster = postmaster_of(await connection.fetchval("select pg_backend_pid()"))
            watched = [psutil.Process(pid) for pid in workers]
            transactions, wal_bytes = await _totals(connection, name)
            cpu_s = [_family_s(postmaster), self._kafka_s(), sum(map(_own_s, watched))]
            taken, began_s, ended = Taken(), time.perf_counter(), asyncio.Event()
            async with asyncio.TaskGroup() as group:
                group.create_task(_look(connection, name, taken, ended))
                try:
                    yield taken
                finally:
                    ended.set()
            taken.seconds = time.perf_counter() - began_s
            taken.workers_cpu_s = sum(map(_own_s, watched)) - cpu_s[2]
            taken.kafka_cpu_s = self._kafka_s() - cpu_s[1]
            taken.postgres_cpu_s = _family_s(postmaster) - cpu_s[0]
            after = await _totals(connection, name)
            taken.transactions, taken.wal_bytes = after[0] - transactions, after[1] - wal_bytes
        finally:
            await connection.close()

    def _kafka_s(self) -> float:
        return _own_s(self._kafka) if self._kafka else 0.0


async def _totals(connection: asyncpg.Connection, name: str) -> tuple[int, int]:
    """Transactions and bytes of write-ahead log since the server was made."""
    [row] = await connection.fetch(TOTALS, name)
    return row["transactions"], row["wal_bytes"]


async def _look(connection: asyncpg.Connection, name: str, taken: Taken, ended: asyncio.Event) -> None:
    while not ended.is_set():
        taken.connections = max(taken.connections, await connection.fetchval(CONNECTIONS, name))
        await asyncio.sleep(LOOK_EVERY_S)  # noqa: TID251 - between two looks


def postmaster_of(backend_pid: int) -> psutil.Process:
    """The parent of a backend, if that is what the number means here."""
    try:
        parent = psutil.Process(backend_pid).parent()
        if parent is not None and parent.name().startswith("postgres"):
            return parent
    except psutil.Error:
        pass  # said below
    raise CannotMeasure(
        "the processes of PostgreSQL can't be looked at, as it runs elsewhere or in a container: "
        f"unset {GIVEN}, so that the embedded one is measured"
    )


def _own_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _family_s(postmaster: psutil.Process) -> float:
    """Of the server: itself, the processes that it has, and those that it had."""
    times = postmaster.cpu_times()
    total = times.user + times.system + times.children_user + times.children_system
    for child in postmaster.children():
        try:
            total += _own_s(child)
        except psutil.NoSuchProcess:
            continue  # it has ended since: the next look finds it with its parent
    return float(total)
