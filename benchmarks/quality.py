"""`python -m benchmarks.quality`: eight checks of a table of a million rows, against one statement by hand and Great
Expectations."""

from __future__ import annotations

import argparse
import asyncio

import asyncpg

from benchmarks import checked_orders, rounds
from benchmarks.fresh import database
from benchmarks.server import postgres

OURS, FUSED, GREAT = "millrace data_quality", "one statement by hand", "Great Expectations"


async def main(rows: int, count: int) -> None:
    """Each contestant checks the same table, which is in memory."""
    async with postgres() as server, database(server, migrated=True) as url:
        connection = await asyncpg.connect(url)
        await connection.execute(checked_orders.made(rows))
        await connection.execute("vacuum (analyze) orders")
        await connection.execute("vacuum (analyze) customers")
        await connection.close()
        contestants = {
            OURS: ["-m", "benchmarks.millrace_quality", url],
            FUSED: ["-m", "benchmarks.baselines.quality_fused", url],
            GREAT: ["-m", "benchmarks.aside", "quality", "benchmarks.baselines.quality_great_expectations", url],
        }
        figures = await asyncio.to_thread(rounds.run, contestants, rounds=count)
    print(rounds.table(figures))
    for rival in (FUSED, GREAT):
        print(rounds.ratio(figures, OURS, rival, "seconds"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    asyncio.run(main(given.rows, given.rounds))
