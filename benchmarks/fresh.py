"""`python -m benchmarks.fresh URL MODULE ARGUMENTS…`: run a contestant on a new database, dropped afterwards.

The contestant gets the new database's URL as its first argument.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from adapters.database.names import quote
from adapters.database.postgres import PostgresDb
from migrations import runner


async def main(url: str, module: str, *arguments: str) -> int:
    """The contestant's exit code."""
    name = f"bench_{os.getpid()}"
    admin = await asyncpg.connect(url)
    await admin.execute(f"create database {quote(name)}")
    fresh = urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
    try:
        if "baselines" not in module:
            db = PostgresDb(fresh)
            await db.open()
            await runner.up(db)
            await db.close()
        return (await asyncio.to_thread(subprocess.run, [sys.executable, "-m", module, fresh, *arguments])).returncode
    finally:
        await admin.execute(f"drop database {quote(name)} with (force)")
        await admin.close()


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main(*sys.argv[1:])))
