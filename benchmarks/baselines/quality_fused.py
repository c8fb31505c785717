"""The best hand-made way: `python -m benchmarks.baselines.quality_fused URL`, all eight checks in one statement.

One aggregate scan with a filter for each check of rows. What must be unique is counted by the index of the primary key,
which has the values in their order (within the scan every row would be sorted), what is referred to by an anti-join.
The length beside a pattern without a count takes less than the pattern with it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import asyncpg

FUSED = """
select count(*) as rows,
    count(*) filter (where email is null) as without_email,
    (select count(order_id) - count(distinct order_id) from orders) as repeated,
    (select count(*) from orders o where customer_id is not null and not exists (
        select from customers c where c.customer_id = o.customer_id)) as orphans,
    count(*) filter (where length(sku) <> 10 or sku !~ '^SKU-[0-9]+$') as odd_skus,
    count(*) filter (where status not in ('new', 'paid', 'sent', 'done', 'returned')) as odd_states,
    count(*) filter (where amount < 0 or amount > 1000) as odd_amounts,
    extract(epoch from now() - max(ordered_at)) as age_s
from orders
"""
RUNS = 5


async def main(url: str) -> None:
    """Print the seconds that it took, the median of some times."""
    connection = await asyncpg.connect(url)
    took = []
    for _ in range(RUNS):
        began = time.perf_counter()
        (row,) = await connection.fetch(FUSED)
        took.append(time.perf_counter() - began)
        assert row["orphans"] == 20, row
    await connection.close()
    print(json.dumps({"seconds": sorted(took)[RUNS // 2]}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
