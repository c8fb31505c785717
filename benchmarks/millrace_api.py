"""`api_gateway` in a worker: `python -m benchmarks.millrace_api URL SECONDS CACHE_S`."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.asked import measured
from benchmarks.workers import settings_of, start
from modules.api_gateway import module
from runtime.http.server import HttpServer
from runtime.worker import Worker

RESOURCE = """\
name: things
source: things
columns: [id, name, price, at, note]
key: [id]
cache_s: {cache_s}
"""


async def main(url: str, seconds: float, cache_s: str) -> None:
    """One row by its key. With `CACHE_S` each row has been asked for before."""
    with TemporaryDirectory() as directory:
        declared = Path(directory) / "catalog" / "resources" / "things.yaml"
        declared.parent.mkdir(parents=True)
        declared.write_text(RESOURCE.format(cache_s=cache_s))
        chosen = settings_of(directory, url, HTTP_PORT="0", CATALOG_DIR=str(declared.parents[1]))
        worker = Worker(chosen, [module])
        worker.http = HttpServer(worker)
        await start(worker)
        port = int(worker.http.address.rpartition(":")[2])
        if float(cache_s):
            await measured(port, "/api/things/{}", 0)
        figures = await measured(port, "/api/things/{}", seconds)
        await worker.stop()
    print(json.dumps(figures))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]), sys.argv[3]))
