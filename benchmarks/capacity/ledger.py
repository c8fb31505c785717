"""What hangs on the ledger's disk: commits, and the room that each kind of row takes."""

from __future__ import annotations

import asyncio
import time

import asyncpg

from benchmarks.bed import Bed
from benchmarks.capacity.tables import round_to, table
from benchmarks.fresh import database

COMMITS = 1_000
SIDE_BY_SIDE = (1, 8, 32)
IDS = 100_000
SEE = """
select millrace.see('g', 'orders', array(select gen_random_uuid()::text from generate_series(1, 1000)), 3600)
"""
EMIT = """
insert into millrace.outbox (shard, id, address, key, envelope)
select n % 8, gen_random_uuid()::text, 'orders.named', 'c' || n % 1000, decode(repeat('ab', 200), 'hex')
from generate_series(1, {count}) n
"""


async def measured(bed: Bed, of: int) -> str:
    """Two tables; a rate is the best of the rounds, as it is the disk's own that is asked for."""
    async with database(await bed.postgres(), migrated=True) as db:
        rates = [
            [str(number), round_to(max([await _commits(db, number) for _ in range(of)]))] for number in SIDE_BY_SIDE
        ]
        connection = await asyncpg.connect(db)
        for _ in range(IDS // 1000):
            await connection.execute(SEE)
        await connection.execute(EMIT.format(count=IDS))
        sizes = []
        for name, relation in (
            ("an id that is remembered (`dedupe_s`)", "millrace.seen"),
            ("a message of 200 bytes in the outbox, until it is sent", "millrace.outbox"),
        ):
            size = await connection.fetchval("select pg_total_relation_size($1::text::regclass)", relation)
            sizes.append([name, round_to(size / IDS)])
        await connection.close()
    commits = table(("connections that commit", "commits/s here"), rates)
    return f"{commits}\n\n{table(('row', 'bytes, indexes included'), sizes)}"


async def _commits(db: str, number: int) -> float:
    """A second, of transactions that write one small row each."""
    connections = [await asyncpg.connect(db) for _ in range(number)]
    await connections[0].execute("create table if not exists probe (n integer)")

    async def write(connection: asyncpg.Connection) -> None:
        for _ in range(COMMITS // number):
            await connection.execute("insert into probe values (1)")

    began_s = time.perf_counter()
    await asyncio.gather(*map(write, connections))
    seconds = time.perf_counter() - began_s
    for connection in connections:
        await connection.close()
    return COMMITS // number * number / seconds
