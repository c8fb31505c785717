"""dlt's Arrow path: `python -m benchmarks.baselines.dlt_arrow URL CSV [--text]`.

The one that counts promises what we do, as its best user would have it: values cast, wrong ones left out and the first
row of each key kept, in Polars; dlt merges by the primary key (delete and insert) what needs no further deduplication
(`deduplicated`); and that key is built once the rows are in, which costs less than a unique index that is there before
them. Left to dlt, the winner of a key is arbitrary, or takes one more column and a sort (`dedup_sort`). Of the formats
that its documentation has for tables, Parquet by Arrow's driver took two thirds of the time of csv, and four files
loaded side by side took less than one. Rejected rows are not kept, which flatters it.

`--text` is its shortest program: every column as text, nothing cast or rejected, an arbitrary winner and no unique key,
loaded as csv, for which nothing else is to be installed.

The clock starts when all is imported and the pipeline is made, as ours starts with a worker that waits for its job.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

TYPED: Any = {"disposition": "merge", "strategy": "delete-insert", "deduplicated": True}
FILE_ROWS = 250_000
"""So many rows are one loader file; several are loaded at a time."""


def main(url: str, path: str, *, text: bool) -> None:
    """Print rows per second and the peak memory of this process; fails when a key is in the table twice."""
    os.environ.update(
        RUNTIME__DLTHUB_TELEMETRY="false",
        NORMALIZE__DATA_WRITER__DISABLE_COMPRESSION="true",
        DATA_WRITER__FILE_MAX_ITEMS=str(FILE_ROWS),
    )
    import dlt
    import dlt.common.libs.pyarrow
    import dlt.destinations.impl.postgres.postgres
    import polars  # noqa: F401 - `typed_rows` needs it
    from pyarrow import csv

    with tempfile.TemporaryDirectory() as directory:
        pipeline = dlt.pipeline(
            "bench",
            destination=dlt.destinations.postgres(credentials(url)),
            dataset_name="dlt_bench",
            pipelines_dir=directory,
        )
        began = time.perf_counter()
        if text:
            convert = csv.ConvertOptions(column_types={"order_id": "string"}, strings_can_be_null=False)
            table = csv.read_csv(path, convert_options=convert)
            read = table.num_rows
        else:
            read, table = typed_rows(path)
        pipeline.run(
            dlt.resource((table.slice(at, FILE_ROWS) for at in range(0, table.num_rows, FILE_ROWS)), name="orders"),
            write_disposition="merge" if text else TYPED,
            primary_key="order_id",
            loader_file_format="csv" if text else "parquet",
        )
        with pipeline.sql_client() as client:
            if not text:
                client.execute_sql("alter table orders add primary key (order_id)")
            seconds = time.perf_counter() - began
            counted = client.execute_sql("select count(*), count(distinct order_id) from orders")
    assert counted is not None
    ((rows, keys),) = counted
    assert rows == keys, f"{rows} rows of {keys} keys"
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rows_per_s": read / seconds, "seconds": seconds, "peak_mb": peak_mb, "rows": rows}))


def typed_rows(path: str) -> tuple[int, Any]:
    """How many rows there are, and the first row of each key of those whose values all have their types."""
    import polars as pl

    types: dict[str, pl.DataType] = dict.fromkeys(("order_id", "customer_id", "quantity"), pl.Int64())
    types["price"] = pl.Decimal(12, 2)
    text = pl.read_csv(path, infer_schema=False)
    cast = text.with_columns(
        *(pl.col(name).cast(kind, strict=False) for name, kind in types.items()),
        pl.col("ordered_at").str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", time_zone="UTC", strict=False),
    )
    broken = [text[name].is_not_null() & cast[name].is_null() for name in (*types, "ordered_at")]
    good = cast.filter(~pl.any_horizontal(*broken), pl.col("order_id").is_not_null())
    return text.height, good.unique("order_id", keep="first", maintain_order=True).to_arrow()


def credentials(url: str) -> dict[str, Any]:
    """The URL in parts: dlt asks for a host even where the query names a unix socket's directory, which wins."""
    parts = urlsplit(url)
    return {
        "host": parts.hostname or "localhost",
        "username": parts.username or "",
        "password": unquote(parts.password or ""),
        "database": parts.path[1:],
        "query": dict(parse_qsl(parts.query)),
    }


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], text="--text" in sys.argv)
