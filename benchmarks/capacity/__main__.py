"""`python -m benchmarks capacity`: the tables that `docs/scale.md` shows, measured on your own machine."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable

from benchmarks.bed import Bed, CannotMeasure
from benchmarks.capacity import events, jobs, ledger, partitions, waiting
from benchmarks.history.machine import QUIET, load, this_code, this_machine
from benchmarks.rounds import ContestantFailed

PARTS: dict[str, tuple[str, Callable[[Bed, int], Awaitable[str]]]] = {
    "events": ("What one event takes", events.measured),
    "partitions": ("What partitions cost", partitions.measured),
    "waiting": ("Workers whose handlers wait", waiting.measured),
    "jobs": ("What one job takes", jobs.measured),
    "ledger": ("The ledger's disk", ledger.measured),
}


async def main(names: list[str], of: int) -> int:
    """1 when a part could not be measured."""
    busy, failed = load(), 0
    async with Bed() as bed:
        print(f"{await this_machine(await bed.postgres())}")
        print(f"code {this_code()}, {of} rounds, load {busy:.2f} a core when it began", flush=True)
        if busy > QUIET:
            print("The machine was not quiet: what is below is less than it can do.", file=sys.stderr)
        for name in names:
            title, measured = PARTS[name]
            try:
                print(f"\n{title}\n\n{await measured(bed, of)}", flush=True)
            except (CannotMeasure, ContestantFailed) as error:
                print(f"{name} was not measured: {error}", file=sys.stderr)
                failed = 1
    return failed


if __name__ == "__main__":
    listing = "\n".join(f"  {name:<12} {title}" for name, (title, _) in PARTS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks capacity",
        description=f"{__doc__}\n\n{listing}",
        epilog="example: python -m benchmarks capacity events jobs --rounds 5",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help="which of it (default: all, some ten minutes)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each (default: 3)")
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are: {', '.join(PARTS)}")
    raise SystemExit(asyncio.run(main(given.parts or list(PARTS), given.rounds)))
