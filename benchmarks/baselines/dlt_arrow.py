"""dlt's Arrow path: `python -m benchmarks.baselines.dlt_arrow URL CSV [--default|--typed]`.

As its documentation has it: an Arrow resource with a primary key, merged into Postgres by the strategy that also
leaves out duplicates of the file (delete and insert). Text columns, no casts, no rejects and no unique key, which
flatters it. Loader files are csv, which is its fastest; `--default` leaves their format to dlt. `--typed` promises
what we do, as its best user would: casts and rejects in Polars before, the primary key added afterwards.
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


def main(url: str, path: str, *, default: bool, typed: bool) -> None:
    """Print rows per second and the peak memory of this process; fails when a key is in the table twice."""
    os.environ.update(RUNTIME__DLTHUB_TELEMETRY="false", NORMALIZE__DATA_WRITER__DISABLE_COMPRESSION="true")
    import dlt
    from pyarrow import csv

    written: dict[str, Any] = {} if default else {"loader_file_format": "csv"}
    began = time.perf_counter()
    if typed:
        read, table = typed_rows(path)
    else:
        convert = csv.ConvertOptions(column_types={"order_id": "string"}, strings_can_be_null=False)
        table = csv.read_csv(path, convert_options=convert)
        read = table.num_rows
    with tempfile.TemporaryDirectory() as directory:
        pipeline = dlt.pipeline(
            "bench",
            destination=dlt.destinations.postgres(credentials(url)),
            dataset_name="dlt_bench",
            pipelines_dir=directory,
        )
        pipeline.run(
            table,
            table_name="orders",
            write_disposition="merge",
            primary_key="order_id",
            **written,
        )
        with pipeline.sql_client() as client:
            if typed:
                client.execute_sql("alter table orders add primary key (order_id)")
            seconds = time.perf_counter() - began
            counted = client.execute_sql("select count(*), count(distinct order_id) from orders")
    assert counted is not None
    ((rows, keys),) = counted
    assert rows == keys, f"{rows} rows of {keys} keys"
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rows_per_s": read / seconds, "seconds": seconds, "peak_mb": peak_mb, "rows": rows}))


def typed_rows(path: str) -> tuple[int, Any]:
    """How many rows there are, and those whose values all have their types."""
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
    return text.height, good.to_arrow()


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
    main(sys.argv[1], sys.argv[2], default="--default" in sys.argv, typed="--typed" in sys.argv)
