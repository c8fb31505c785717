"""What is measured for docs/scale.md is what was taken: held against work whose size is known, on a real server."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import asyncpg
import pytest

from benchmarks.bed import CannotMeasure
from benchmarks.capacity.events import Route, once
from benchmarks.capacity.tables import round_to, table
from benchmarks.capacity.taken import Meter, postmaster_of
from benchmarks.fresh import database
from tests.kit import services

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

TRANSACTIONS, BYTES = 40, 50_000


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[str]:
    """One whose processes are of this machine, whatever the other tests have."""
    async with services.own_postgres() as own:
        yield own.url


async def test_transactions_log_and_connections_are_those_of_the_work(server: str) -> None:
    meter = Meter(server, kafka_pid=None)
    async with database(server, migrated=False) as url:
        async with meter.over(url) as taken:
            connections = [await asyncpg.connect(url) for _ in range(3)]
            await connections[0].execute("create table notes (note text)")
            for number in range(TRANSACTIONS):
                note = f"{number:06}" * (BYTES // 6)
                await connections[0].execute("alter table notes alter note set storage external")
                await connections[0].execute("insert into notes values ($1)", note)
            for connection in connections:
                await connection.close()
        assert taken.transactions >= 2 * TRANSACTIONS
        assert taken.wal_bytes > TRANSACTIONS * BYTES
        assert taken.connections <= 3
        assert taken.postgres_cpu_s > 0
        assert (taken.kafka_cpu_s, taken.workers_cpu_s) == (0, 0)


async def test_a_contestant_is_run_on_a_database_of_its_own(server: str) -> None:
    said: list[str] = []

    def command(db: str) -> list[str]:
        said.append(db)
        return ["-c", "import json; print(json.dumps({'cpu_us_each': 2.5}))"]

    found = await once(Route(name="toy", count=10, command=command), server, Meter(server, kafka_pid=None))
    assert found.figures == {"cpu_us_each": 2.5}
    assert found.ledger_bytes > 0
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await asyncpg.connect(said[0])


def test_a_server_that_is_elsewhere_is_refused_in_words() -> None:
    with pytest.raises(CannotMeasure, match="unset BENCH_POSTGRES_URL, so that the embedded one is measured"):
        postmaster_of(os.getpid())  # a process, and nobody's backend


def test_tables_are_markdown_with_digits_that_count() -> None:
    assert table(("what", "n"), [["a", "1"], ["long one", "1,000"]]) == (
        "| what     |     n |\n| -------- | ----: |\n| a        |     1 |\n| long one | 1,000 |"
    )
    assert [round_to(value) for value in (0, 0.12345, 12.345, 1234.5, 98765.4)] == [
        "0",
        "0.123",
        "12.3",
        "1,230",
        "98,800",
    ]
