"""`python -m benchmarks.batch_etl`: a CSV into PostgreSQL, first load and reload, against the best hand-made ways."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import orders_csv, rounds
from benchmarks.server import postgres

OURS, SQL = "millrace batch_etl", "SQL: COPY, CREATE TABLE AS"
RIVALS = {
    SQL: ["benchmarks.baselines.copy_sql"],
    "SQL: COPY, INSERT … ON CONFLICT": ["benchmarks.baselines.copy_sql", "--insert"],
    "dlt Arrow: typed, unique key": ["benchmarks.baselines.dlt_arrow"],
    "dlt Arrow: text, no unique key": ["benchmarks.baselines.dlt_arrow", "--text"],
}


async def main(rows: int, count: int, *, only_ours: bool) -> None:
    """Each contestant loads into an empty table of a new database; then over the rows of another file."""
    with TemporaryDirectory(prefix="millrace-bench-") as directory:
        path, changed = Path(directory) / "orders.csv", Path(directory) / "changed.csv"
        orders_csv.write(path, rows)
        orders_csv.write(changed, rows, changed=True)
        async with postgres() as url:
            fresh = ["-m", "benchmarks.fresh", url]
            contestants = {OURS: [*fresh, "benchmarks.millrace_etl", str(path)]}
            if not only_ours:
                contestants |= {name: [*fresh, way[0], str(path), *way[1:]] for name, way in RIVALS.items()}
            first = await asyncio.to_thread(rounds.run, contestants, rounds=count)
            print(f"first load of {rows:,} rows")
            print(rounds.table(first))
            if only_ours:
                return
            for rival in RIVALS:
                print(rounds.ratio(first, OURS, rival, "rows_per_s"))
            reload = {
                name: ["-m", "benchmarks.reload", url, module, str(path), str(changed)]
                for name, module in ((OURS, "benchmarks.millrace_etl"), (SQL, "benchmarks.baselines.copy_sql"))
            }
            again = await asyncio.to_thread(rounds.run, reload, rounds=count)
            print("a changed file over existing rows")
            print(rounds.table(again))
            print(rounds.ratio(again, OURS, SQL, "rows_per_s"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only-ours", action="store_true", help="only Millrace's first load, for its memory")
    given = parser.parse_args()
    asyncio.run(main(given.rows, given.rounds, only_ours=given.only_ours))
