"""Run schedules until one fails, and print what led to it.

python -m tests.simulation --seeds 1000            as many seeds, from --from on (a random one, which is printed)
python -m tests.simulation --minutes 10            for so long
python -m tests.simulation --seed 4711 --trace     one of them again, with all that happened
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.schedule import Ended, run, run_beside

ROUND = 40
"""Schedules that each process plays before anything is told."""


def main() -> int:
    """0 when all went well, 1 when any did not."""
    said = _arguments()
    if said.seed is not None:
        ended = run(said.seed)
        _tell(ended, trace=said.trace)
        return int(bool(ended.violation))
    seed = said.first if said.first is not None else random.SystemRandom().randrange(1 << 32)
    print(f"schedules from seed {seed} on", flush=True)
    began_at, happened, failed = time.perf_counter(), Counter[str](), 0
    last, ends_at = seed + said.seeds, began_at + 60 * said.minutes
    # Processes that are made anew, and not forked: none has what another one left behind.
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(said.processes, mp_context=spawning) as pool:
        while (time.perf_counter() < ends_at if said.minutes else seed < last) and (not failed or said.go_on):
            upto = seed + ROUND * said.processes
            seeds = range(seed, upto if said.minutes else min(last, upto))
            for ended in pool.map(run_beside, seeds, chunksize=5):
                happened.update({what: times for what, times in ended.happened.items() if " by m" not in what})
                happened.update(schedules=1, steps=ended.steps)
                if ended.violation:
                    failed += 1
                    _tell(ended, trace=said.trace)
            seed = seeds.stop
    took_s, ran = time.perf_counter() - began_at, happened["schedules"]
    print(f"{ran} schedules in {took_s:.1f} s: {60 * ran / took_s:.0f} a minute; {failed} failed")
    print(", ".join(f"{name} {times}" for name, times in sorted(happened.items())))
    return int(failed > 0)


def _tell(ended: Ended, *, trace: bool) -> None:
    if trace:
        for at_s, who, what, detail in ended.trace:
            print(f"{at_s:10.4f}  {who:4} {what:22} {detail}")
        print(ended.error)
    plan = ended.plan
    print(
        f"seed {plan.seed}: {ended.violation or 'well'} "
        f"({len(plan.messages)} messages, {ended.steps} steps, {ended.simulated_s:.1f} s, {ended.digest[:12]})",
        flush=True,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation",
        description="Run schedules of the delivery core, each from its seed, until one fails.",
    )
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--minutes", type=float, default=0.0, help="as many as there is time for")
    parser.add_argument("--from", type=int, dest="first", help="the first seed")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--trace", action="store_true", help="print all that happened in those that fail")
    parser.add_argument("--go-on", action="store_true", help="past those that fail")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="so many side by side")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
