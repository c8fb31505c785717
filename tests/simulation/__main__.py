"""Run schedules until one fails, and print what led to it.

python -m tests.simulation --seeds 1000            as many seeds, from --from on (a random one, which is printed)
python -m tests.simulation --minutes 10            for so long
python -m tests.simulation --seed 4711 --trace     one of them again, with all that happened
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback
from collections import Counter

from tests.simulation import gaps
from tests.simulation.schedule import Ended, run


def main() -> int:
    """0 when all went well, 1 when any did not."""
    said = _arguments()
    if said.no_gaps:
        gaps.known.clear()
    if said.seed is not None:
        ended = run(said.seed)
        _tell(ended, trace=said.trace)
        return int(bool(ended.violation))
    first = said.first if said.first is not None else random.SystemRandom().randrange(1 << 32)
    began_at, happened, failed, seed = time.perf_counter(), Counter[str](), Counter[str](), first
    print(f"schedules from seed {first} on")
    while _more(said, seed - first, time.perf_counter() - began_at):
        ended = run(seed)
        happened.update(ended.happened)
        happened.update(schedules=1, steps=ended.steps)
        if ended.violation:
            failed[ended.violation.split(":")[0]] += 1
            _tell(ended, trace=said.trace)
            if not said.go_on:
                break
        seed += 1
    took_s = time.perf_counter() - began_at
    print(f"{happened['schedules']} schedules in {took_s:.1f} s: {60 * happened['schedules'] / took_s:.0f} a minute")
    print(", ".join(f"{name} {times}" for name, times in sorted(happened.items())))
    return int(bool(failed))


def _more(said: argparse.Namespace, ran: int, took_s: float) -> bool:
    return bool(took_s < 60 * said.minutes if said.minutes else ran < said.seeds)


def _tell(ended: Ended, *, trace: bool) -> None:
    if trace:
        for at_s, who, what, detail in ended.trace:
            print(f"{at_s:10.4f}  {who:4} {what:22} {detail}")
        if ended.error is not None:
            traceback.print_exception(ended.error)
    plan = ended.plan
    print(
        f"seed {plan.seed}: {ended.violation or 'well'} "
        f"({len(plan.messages)} messages, {ended.steps} steps, {ended.simulated_s:.1f} s, {ended.digest[:12]})"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--minutes", type=float, default=0.0, help="as many as there is time for")
    parser.add_argument("--from", type=int, dest="first", help="the first seed")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--trace", action="store_true", help="print all that happened in the ones that fail")
    parser.add_argument("--go-on", action="store_true", help="past the ones that fail")
    parser.add_argument("--no-gaps", action="store_true", help="also where schedules are known to break")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
