"""`python -m benchmarks.fresh URL MODULE ARGUMENTS…`: run a contestant on a new database, dropped afterwards.

The contestant gets the new database's URL as its first argument.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from adapters.database.names import quote
from adapters.database.postgres import PostgresDb
from migrations import runner


@asynccontextmanager
async def database(url: str, *, migrated: bool) -> AsyncIterator[str]:
    """The URL of a new database on the server of `url`, gone after the block."""
    name = f"bench_{os.getpid()}"
    admin = await asyncpg.connect(url)
    await admin.execute(f"create database {quote(name)}")
    fresh = urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
    try:
        if migrated:
            db = PostgresDb(fresh)
            await db.open()
            await runner.up(db)
            await db.close()
        yield fresh
    finally:
        await admin.execute(f"drop database {quote(name)} with (force)")
        await admin.close()


async def main(url: str, module: str, *arguments: str) -> int:
    """The contestant's exit code."""
    async with database(url, migrated="baselines" not in module) as fresh:
        return (await asyncio.to_thread(subprocess.run, [sys.executable, "-m", module, fresh, *arguments])).returncode


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main(*sys.argv[1:])))
