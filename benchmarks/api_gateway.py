"""`python -m benchmarks.api_gateway`: rows by key over HTTP, out of the cache and out of the database."""

from __future__ import annotations

import argparse
import asyncio

from adapters.database.postgres import PostgresDb
from benchmarks import rounds
from benchmarks.asked import CONNECTIONS, KEYS
from benchmarks.fresh import database
from benchmarks.server import postgres

CACHED, READ, BY_HAND = "millrace, cached", "millrace, not cached", "Litestar and asyncpg by hand"
TABLE = """
create table things (id bigint primary key, name text not null, price numeric(10, 2), at timestamptz, note text);
insert into things select n, 'name of ' || n, n / 100.0, '2026-01-15'::timestamptz + n * interval '1 s',
    case when n % 3 = 0 then 'a note of some length, as people write them' end from generate_series(0, 99999) n;
analyze things
"""


async def main(seconds: float, count: int) -> None:
    """One process answers, another one asks."""
    async with postgres() as url, database(url, migrated=True) as db_url:
        db = PostgresDb(db_url)
        await db.open()
        await db.execute(TABLE)
        await db.close()
        contestants = {
            CACHED: ["-m", "benchmarks.millrace_api", db_url, str(seconds), "600"],
            READ: ["-m", "benchmarks.millrace_api", db_url, str(seconds), "0"],
            BY_HAND: ["-m", "benchmarks.baselines.litestar_api", db_url, str(seconds)],
        }
        figures = await asyncio.to_thread(rounds.run, contestants, rounds=count)
    print(f"one row by its key, of {KEYS}; {CONNECTIONS} connections")
    print(rounds.table(figures))
    print(rounds.ratio(figures, CACHED, BY_HAND, "requests_per_s"))
    print(rounds.ratio(figures, READ, BY_HAND, "requests_per_s"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    asyncio.run(main(given.seconds, given.rounds))
