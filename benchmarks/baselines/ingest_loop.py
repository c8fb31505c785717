"""Ingestion by hand: `python -m benchmarks.baselines.ingest_loop SERVERS URL TOPIC COUNT WAY`.

aiokafka's `getmany` of at most 5,000 records, decoded by msgspec, written in one transaction, then committed.
`WAY` is `merge` (COPY into a temporary table, then INSERT … ON CONFLICT of its last rows by key), `copy` (COPY straight
into a table without a key) or `rows` (an upsert for each message, which commits by itself).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext

import asyncpg
import msgspec
from aiokafka import AIOKafkaConsumer  # type: ignore[import-untyped]

from benchmarks.ingest_message import DDL, KEY, NAMES, Placed

SET = ", ".join(f"{name} = excluded.{name}" for name in NAMES[1:])


async def main(servers: str, url: str, topic: str, count: int, way: str) -> None:
    """Messages a second, from the first fetch in hand to the last commit."""
    table = f"hand_{os.getpid()}"
    db = await asyncpg.connect(url)
    await db.execute(f"create table {table} {DDL}{KEY if way != 'copy' else ')'}")
    await db.execute(f"create temp table stage {DDL}, seq serial)")
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=servers,
        group_id=f"hand-{os.getpid()}",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    decode = msgspec.json.Decoder(Placed).decode
    taken, began_at = 0, 0.0
    while taken < count:
        fetched = await consumer.getmany(timeout_ms=1000, max_records=5000)
        began_at = began_at or time.perf_counter()
        rows = [msgspec.structs.astuple(decode(record.value)) for records in fetched.values() for record in records]
        if rows:
            async with db.transaction() if way != "rows" else nullcontext():
                await _write(db, table, rows, way)
            await consumer.commit()
            taken += len(rows)
    print(json.dumps({"messages_per_s": taken / (time.perf_counter() - began_at)}))
    await consumer.stop()
    await db.execute(f"drop table {table}")
    await db.close()


async def _write(db: asyncpg.Connection, table: str, rows: Sequence[tuple[object, ...]], way: str) -> None:
    names = ", ".join(NAMES)
    if way == "copy":
        await db.copy_records_to_table(table, records=rows, columns=NAMES)
    elif way == "merge":
        await db.execute("truncate stage")
        await db.copy_records_to_table("stage", records=rows, columns=NAMES)
        await db.execute(
            f"insert into {table} ({names}) select distinct on (order_id) {names} from stage"  # noqa: S608
            f" order by order_id, seq desc on conflict (order_id) do update set {SET}"
        )
    else:
        places = ", ".join(f"${at}" for at in range(1, len(NAMES) + 1))
        for row in rows:
            await db.execute(
                f"insert into {table} ({names}) values ({places}) on conflict (order_id) do update set {SET}",  # noqa: S608
                *row,
            )


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5]))
