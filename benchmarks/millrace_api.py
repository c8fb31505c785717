"""`api_gateway` in a worker: `python -m benchmarks.millrace_api URL SECONDS CACHE_S`."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.asked import measured
from modules.api_gateway import module
from runtime import process, settings
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
        environ = {"DB_POSTGRES_URL": url, "MILLRACE_LOG": "json", "LOG_LEVEL": "warn", "HTTP_PORT": "0"}
        environ["CATALOG_DIR"] = str(declared.parents[1])
        worker = Worker(settings.load(overrides={}, environ=environ, directory=Path(directory)), [module])
        worker.http = HttpServer(worker)
        await worker.start()
        process.collect_less_often()  # as in every process of a worker
        port = int(worker.http.address.rpartition(":")[2])
        if float(cache_s):
            await measured(port, "/api/things/{}", seconds)
        figures = await measured(port, "/api/things/{}", seconds)
        await worker.stop()
    print(json.dumps(figures))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]), sys.argv[3]))
