"""How workers add up when handlers wait for something else, 5 ms each: the processor is not what is shared."""

from __future__ import annotations

import asyncio
import os

from benchmarks import rounds
from benchmarks.bed import Bed
from benchmarks.capacity.tables import round_to, table
from benchmarks.fresh import database
from benchmarks.millrace_redis import DATABASE
from benchmarks.scaled import LANES, PARTITIONS, TAKES_S

WORKERS = (1, 2, 4, 8)
EACH = 5_000
"""Messages of each worker, so that all take equally long."""


async def measured(bed: Bed, of: int) -> str:
    """The table; each number of workers has the best of the rounds, as a rebalance at the wrong moment is no limit."""
    kafka = await bed.kafka()
    rows = []
    async with database(await bed.postgres(), migrated=True) as db:
        os.environ[DATABASE] = db
        for workers in WORKERS:
            command = ["-m", "benchmarks.scaled", "kafka", kafka.url, str(workers), str(workers * EACH)]
            found = [await asyncio.to_thread(rounds.once, f"{workers} workers", command) for _ in range(of)]
            best = max(figures["messages_per_s"] for figures in found)
            possible = workers * LANES / TAKES_S
            rows.append([str(workers), str(PARTITIONS // workers), round_to(best), f"{best / possible:.0%}"])
    return table(("workers", "partitions of each", "messages/s here", "of what their lanes allow"), rows)
