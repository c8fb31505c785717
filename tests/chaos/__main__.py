"""The storm in its long form: `task chaos -- --help`."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

import msgspec

from tests.chaos.plan import Plan
from tests.chaos.storm import alone

BUSES = ("kafka", "redis-stream")
KINDS = ("messages", "jobs", "workers", "blows", "broker_restarts", "database_restarts", "cuts", "settle_s")


def main() -> int:
    """1 when a promise was broken on any bus."""
    parser = argparse.ArgumentParser(
        prog="task chaos --",
        description="Workers are killed, stopped and replaced at random while messages and jobs keep coming; the "
        "broker and PostgreSQL are restarted and crash, and networks are cut. At the end every effect must be there "
        "exactly once and in order, and nothing may be left in flight.",
        epilog="The seed decides who is hit, by what and when; how the processes run against each other it does not.",
    )
    add = parser.add_argument
    add("--mq", choices=(*BUSES, "both"), default="both", help="on which bus (default: one after the other)")
    add("--messages", type=int, default=50_000, help="messages, each handled on two routes (default: %(default)s)")
    add("--jobs", type=int, default=200, help="jobs (default: %(default)s)")
    add("--workers", type=int, default=4, help="worker processes (default: %(default)s)")
    add("--blows", type=int, default=100, help="workers that are hit (default: %(default)s)")
    add("--broker-restarts", type=int, default=3, help="restarts and crashes of the broker (default: %(default)s)")
    add("--database-restarts", type=int, default=3, help="the same of PostgreSQL (default: %(default)s)")
    add("--cuts", type=int, default=16, help="cuts and stalls of networks (default: %(default)s)")
    add("--settle-s", type=float, default=120.0, help="wait so long for one more effect (default: %(default)g)")
    add("--seed", type=int, help="do what a former storm did (default: a random one)")
    add("--log", type=Path, help="a file for what the workers log (default: none is kept)")
    given = parser.parse_args()
    seed = int.from_bytes(os.urandom(4)) if given.seed is None else given.seed
    chosen = {kind: getattr(given, kind) for kind in KINDS}
    worst = 0
    for mq in BUSES if given.mq == "both" else (given.mq,):
        print(f"{mq}: seed {seed}; again: task chaos -- --mq {mq} --seed {seed}", file=sys.stderr, flush=True)
        summary = asyncio.run(alone(Plan(mq=mq, seed=seed, **chosen), log=given.log))
        print(msgspec.json.format(msgspec.json.encode(summary)).decode(), flush=True)
        worst = max(worst, 1 if summary.faults else 0)
    return worst


if __name__ == "__main__":
    raise SystemExit(main())
