"""`python -m benchmarks.reload URL MODULE FIRST CHANGED`: on a new database, load one file by the hand-made script,
untimed, and then the changed one by the contestant."""

from __future__ import annotations

import asyncio
import subprocess
import sys

from benchmarks.fresh import database


async def main(url: str, module: str, first: str, changed: str) -> int:
    """The contestant's exit code."""
    async with database(url, migrated="baselines" not in module) as fresh:
        filling = [sys.executable, "-m", "benchmarks.baselines.copy_sql", fresh, first]
        await asyncio.to_thread(subprocess.run, filling, stdout=subprocess.DEVNULL, check=True)
        return (
            await asyncio.to_thread(subprocess.run, [sys.executable, "-m", module, fresh, changed, "--reload"])
        ).returncode


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main(*sys.argv[1:])))
