"""The best hand-made way: `python -m benchmarks.baselines.copy_sql URL CSV [--insert|--reload]`.

COPY of the raw file into unlogged text staging with a line number, then all in SQL: rejects and the final table by
CREATE TABLE AS (which, unlike INSERT … SELECT, reads in parallel), `pg_input_is_valid` for the checks, DISTINCT ON by
line for the duplicates, the primary key built afterwards; larger `work_mem` and `maintenance_work_mem`. It was the
fastest of some 25 variants. `--insert` is how it is mostly written: INSERT … ON CONFLICT into an empty table that has
its primary key. `--reload` loads over existing rows by ON CONFLICT DO UPDATE … WHERE IS DISTINCT FROM.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from pathlib import Path

import asyncpg

COLUMNS = ["order_id", "customer_id", "sku", "quantity", "price", "ordered_at", "note"]
STAGING = "create unlogged table stage (line bigint generated always as identity (cache 1000), {})".format(
    ", ".join(f"{name} text" for name in COLUMNS)
)
ORDERS = """create table orders (order_id bigint primary key, customer_id bigint, sku text, quantity bigint,
    price numeric(12, 2), ordered_at timestamptz, note text)"""
VALID = """order_id is not null and pg_input_is_valid(order_id, 'int8') and pg_input_is_valid(customer_id, 'int8')
    and pg_input_is_valid(quantity, 'int8') and pg_input_is_valid(price, 'numeric(12,2)')
    and pg_input_is_valid(ordered_at, 'timestamptz')"""
TYPED = """select distinct on (order_id::bigint) order_id::bigint as order_id, customer_id::bigint as customer_id, sku,
    quantity::bigint as quantity, price::numeric(12, 2) as price, ordered_at::timestamptz as ordered_at, note
    from stage where line not in (select line from rejects) order by order_id::bigint, line"""


async def main(url: str, path: str, *, reload: bool, insert: bool) -> None:
    """Print rows per second and the peak memory of this process."""
    connection = await asyncpg.connect(url)
    began = time.perf_counter()
    async with connection.transaction():
        await connection.execute("set local work_mem = '256MB'; set local maintenance_work_mem = '256MB'")
        await connection.execute(STAGING)
        copied = await connection.copy_to_table("stage", source=Path(path), columns=COLUMNS, format="csv", header=True)
        await connection.execute("drop table if exists rejects")
        await connection.execute(
            f"create table rejects as select line, row_to_json(stage)::text as raw from stage "  # noqa: S608
            f"where ({VALID}) is not true"
        )
        if reload:
            changes = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS[1:])
            old, new = (", ".join(f"{table}.{name}" for name in COLUMNS[1:]) for table in ("orders", "excluded"))
            await connection.execute(
                f"insert into orders {TYPED} on conflict (order_id) do update set {changes}"
                f" where ({old}) is distinct from ({new})"
            )
        elif insert:
            await connection.execute(ORDERS)
            await connection.execute(f"insert into orders {TYPED} on conflict (order_id) do nothing")
        else:
            await connection.execute(f"create table orders as {TYPED}")
            await connection.execute("alter table orders add primary key (order_id)")
        await connection.execute("drop table stage")
    seconds = time.perf_counter() - began
    rows = int(copied.split()[-1])
    await connection.close()
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rows_per_s": rows / seconds, "seconds": seconds, "peak_mb": peak_mb}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], reload="--reload" in sys.argv, insert="--insert" in sys.argv))
