"""The best hand-made way: `python -m benchmarks.baselines.quality_fused URL`, all eight checks in one statement.

One aggregate scan with a filter for each check of rows, a GROUP BY … HAVING for what must be unique, an anti-join for
what is referred to. `count(distinct …)` sorts every row, and takes longer than eight statements do.
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
    (select coalesce(sum(n), 0) from (
        select count(*) as n from orders where order_id is not null group by order_id having count(*) > 1
    ) d) as repeated,
    (select count(*) from orders o where customer_id is not null and not exists (
        select from customers c where c.customer_id = o.customer_id)) as orphans,
    count(*) filter (where sku !~ '^SKU-[0-9]{6}$') as odd_skus,
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
