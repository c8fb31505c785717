"""`python -m benchmarks track`: each benchmark in its short form, kept in the history of this machine and held against
what was there before."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from adapters.clock.system import SystemClock
from benchmarks import rounds
from benchmarks.bed import Bed, CannotMeasure
from benchmarks.history import compared, store
from benchmarks.history.machine import QUIET, load, this_code, this_machine
from benchmarks.history.record import Code, Figure, Machine, Record
from benchmarks.short import SHORT, Short


class Session:
    """What all benchmarks of one call have in common."""

    def __init__(self, *, code: Code, machine: Machine, load: float, at: datetime, rounds: int, file: Path) -> None:
        self.code = code
        self.machine = machine
        self.load = load
        self.at = at
        self.rounds = rounds
        self.file = file

    async def measured(self, name: str, one: Short, bed: Bed) -> Record:
        """Kept as soon as it is there. Raises `CannotMeasure`."""
        bed.used.clear()
        async with one.commands(bed) as commands:
            try:
                figures = await asyncio.to_thread(rounds.run, commands, rounds=self.rounds)
            except rounds.ContestantFailed as error:
                raise CannotMeasure(str(error)) from error
        record = Record(
            benchmark=name,
            at=self.at,
            code=self.code,
            machine=self.machine,
            load=round(self.load, 2),
            settings={**one.settings, **bed.used},
            figures=tuple(figures_of(one, figures)),
        )
        store.add(self.file, record)
        return record


def figures_of(one: Short, measured: Mapping[str, Sequence[rounds.Figures]]) -> list[Figure]:
    return [
        Figure(
            name=wanted.name,
            unit=wanted.unit,
            better=wanted.better,
            rounds=tuple(each[wanted.key] for each in measured[wanted.of]),
        )
        for wanted in one.wanted
    ]


async def main(chosen: Mapping[str, Short], of: int, file: Path, *, against: str, fail_on_slower: bool) -> int:
    """0, or 1 when something could not be measured or, where that is asked for, is slower; 2 when there is no place to
    keep it."""
    try:
        store.make(file)
        kept = store.read(file)
    except OSError as error:
        print(f"the history can't be kept in {file}: {error.strerror}; --file names another place", file=sys.stderr)
        return 2
    for fault in kept.faults:
        print(fault, file=sys.stderr)
    busy = load()
    if busy > QUIET:
        print(_warning(busy), file=sys.stderr)
    lines, failed = [], []
    async with Bed() as bed:
        machine, code = await this_machine(await bed.postgres()), this_code()
        session = Session(code=code, machine=machine, load=busy, at=SystemClock().now(), rounds=of, file=file)
        for number, (name, one) in enumerate(chosen.items(), start=1):
            print(f"\n[{number}/{len(chosen)}] {name}: {one.what}", file=sys.stderr, flush=True)
            began_s = time.perf_counter()
            try:
                record = await session.measured(name, one, bed)
            except CannotMeasure as error:
                print(f"{name} was not measured: {error}", file=sys.stderr)
                failed.append(name)
                continue
            print(f"{name} took {time.perf_counter() - began_s:.0f} s", file=sys.stderr, flush=True)
            lines += compared.compared(record, kept.records, against=against)
    print(f"\n{machine}\ncode {code}, {of} rounds, load {busy:.2f} a core when it began; kept in {file}\n")
    print(compared.told(lines))
    if busy > QUIET:
        print(_warning(busy))
    if failed:
        print(f"Not measured: {', '.join(failed)}; the reasons are above.")
    return int(bool(failed) or (fail_on_slower and any(map(compared.is_slower, lines))))


def _warning(busy: float) -> str:
    return (
        f"The machine was not quiet: {busy:.2f} waited for each core when this began, where {QUIET} is quiet. "
        "Figures of such a run are less, and vary more: measure again before you believe them."
    )


def arguments() -> argparse.ArgumentParser:
    listing = "\n".join(f"  {name:<18} {one.what}" for name, one in SHORT.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks track",
        description=f"{__doc__}\n\n{listing}",
        epilog="example: ./task bench -- --only jobs --only streams",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", action="append", choices=SHORT, metavar="NAME", help="this one; may be repeated")
    parser.add_argument("--rounds", type=_rounds, default=5, help="rounds of each, after one to warm up (default: 5)")
    parser.add_argument("--file", type=Path, default=store.FILE, help=f"the history (default: {store.FILE})")
    parser.add_argument("--against", default="", metavar="COMMIT", help="compare with this one instead of the last")
    parser.add_argument("--fail-on-slower", action="store_true", help="exit code 1 when something is slower")
    return parser


def _rounds(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number from 1 to 100")
    return int(text)


if __name__ == "__main__":
    given = arguments().parse_args()
    wanted = {name: one for name, one in SHORT.items() if not given.only or name in given.only}
    running = main(wanted, given.rounds, given.file, against=given.against, fail_on_slower=given.fail_on_slower)
    try:
        raise SystemExit(asyncio.run(running))
    except KeyboardInterrupt:
        print(f"interrupted: what was measured to its end is in {given.file}", file=sys.stderr)
        raise SystemExit(130) from None
