"""A PostgreSQL for a benchmark: `BENCH_POSTGRES_URL`, or the embedded one with its default settings, fsync on."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from tempfile import TemporaryDirectory

from adapters.database.embedded import EmbeddedServer

GIVEN = "BENCH_POSTGRES_URL"


@asynccontextmanager
async def postgres() -> AsyncIterator[str]:
    """The URL of a server that is gone after the block when it was made here."""
    if url := os.environ.get(GIVEN):
        yield url
        return
    with TemporaryDirectory(prefix="millrace-bench-") as directory:
        server = EmbeddedServer(directory)
        await server.start()
        try:
            yield server.url().reveal()
        finally:
            await server.stop(remove=True)
