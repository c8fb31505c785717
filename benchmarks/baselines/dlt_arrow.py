"""dlt's Arrow path: `python -m benchmarks.baselines.dlt_arrow URL CSV`.

As its documentation has it: an Arrow resource with a primary key, merged into Postgres, csv loader files.
Text columns, no casts and no rejects, which flatters it.
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


def main(url: str, path: str) -> None:
    """Print rows per second and the peak memory of this process."""
    os.environ.update(RUNTIME__DLTHUB_TELEMETRY="false", NORMALIZE__DATA_WRITER__DISABLE_COMPRESSION="true")
    import dlt
    from pyarrow import csv

    began = time.perf_counter()
    convert = csv.ConvertOptions(column_types={"order_id": "string"}, strings_can_be_null=False)
    table = csv.read_csv(path, convert_options=convert)
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
            write_disposition="merge",  # delete and insert: the strategy that also leaves out duplicates of the file
            primary_key="order_id",
            loader_file_format="csv",
        )
    seconds = time.perf_counter() - began
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rows_per_s": table.num_rows / seconds, "seconds": seconds, "peak_mb": peak_mb}))


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
    main(sys.argv[1], sys.argv[2])
