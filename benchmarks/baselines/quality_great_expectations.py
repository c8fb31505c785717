"""Great Expectations: `python -m benchmarks.baselines.quality_great_expectations URL`, in the environment of
`benchmarks/quality.lock`.

At its best: one batch over the whole table, `BOOLEAN_ONLY`, so that no failing values are fetched, no temporary table,
no documents, no telemetry. It bundles the metrics of a batch into few statements by itself. The clock starts when all
is imported, connected and declared, and one validation was made before.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

RUNS = 5


def main(url: str) -> None:
    """Print the seconds that a validation took, the median of some."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    warnings.simplefilter("ignore")
    import great_expectations as gx  # type: ignore[import-not-found, unused-ignore]
    import great_expectations.expectations as gxe  # type: ignore[import-not-found, unused-ignore]

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    source = context.data_sources.add_postgres("bench", connection_string=address(url))
    asset = source.add_table_asset("orders", table_name="orders")
    batch = asset.add_batch_definition_whole_table("all").get_batch()
    # {batch} brings an alias of its own, so the table stands there by its name.
    orphans = """select order_id from orders o where customer_id is not null
        and not exists (select from customers c where c.customer_id = o.customer_id)"""
    expectations: list[Any] = [
        gxe.ExpectTableRowCountToBeBetween(min_value=1),
        gxe.ExpectColumnValuesToNotBeNull(column="email", mostly=0.99),
        gxe.ExpectColumnValuesToBeUnique(column="order_id"),
        gxe.UnexpectedRowsExpectation(unexpected_rows_query=orphans),
        gxe.ExpectColumnValuesToMatchRegex(column="sku", regex="^SKU-[0-9]{6}$"),
        gxe.ExpectColumnValuesToBeInSet(column="status", value_set=["new", "paid", "sent", "done", "returned"]),
        gxe.ExpectColumnValuesToBeBetween(column="amount", min_value=0, max_value=1000),
        gxe.ExpectColumnMaxToBeBetween(column="ordered_at", min_value=datetime(2000, 1, 1, tzinfo=UTC)),
    ]
    suite = gx.ExpectationSuite(name="orders", expectations=expectations)
    took = []
    for _ in range(RUNS + 1):
        began = time.perf_counter()
        result = batch.validate(suite, result_format="BOOLEAN_ONLY")
        took.append(time.perf_counter() - began)
        failed = [one.expectation_config.type for one in result.results if not one.success]
        # An expectation that could not be asked counts as failed, too.
        assert "'raised_exception': True" not in str([one.exception_info for one in result.results]), result
        assert failed == ["unexpected_rows_expectation"], failed  # it knows no threshold
    print(json.dumps({"seconds": sorted(took[1:])[RUNS // 2]}))


def address(url: str) -> str:
    """As both want it: there must be a host, and the one in the query, a unix socket's directory, wins."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    host = query.pop("host", None) or parts.hostname or "localhost"
    port = query.pop("port", None) or parts.port or 5432
    password = f":{parts.password}" if parts.password else ""
    at = f"{parts.username or ''}{password}@localhost/{unquote(parts.path[1:])}"
    return f"postgresql+psycopg2://{at}?host={host}&port={port}"


if __name__ == "__main__":
    main(sys.argv[1])
