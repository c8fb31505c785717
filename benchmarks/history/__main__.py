"""`python -m benchmarks history`: how the figures of this machine went, in the terminal and as a page with plots."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.history import store
from benchmarks.history.page import page
from benchmarks.history.trend import places, told

PAGE = Path("history.html")
"""Beside the history."""


def main(arguments: Sequence[str] | None = None) -> int:
    """1 when there is nothing to show."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks history", description=__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="this benchmark; may be repeated")
    parser.add_argument("--file", type=Path, default=store.FILE, help=f"the history (default: {store.FILE})")
    parser.add_argument(
        "--page", type=Path, help="where the page is written (default: history.html beside the history)"
    )
    given = parser.parse_args(arguments)
    try:
        kept = store.read(given.file)
    except OSError as error:
        print(f"{given.file} can't be read: {error.strerror}", file=sys.stderr)
        return 1
    for fault in kept.faults:
        print(fault, file=sys.stderr)
    known = dict.fromkeys(one.benchmark for one in kept.records)
    if unknown := [name for name in given.only if name not in known]:
        there = f"there are: {', '.join(known)}" if known else "nothing was measured yet"
        print(f"{given.file} has no benchmark {', '.join(unknown)}; {there}", file=sys.stderr)
        return 1
    if not kept.records:
        print(f"{given.file} has nothing yet; `./task bench` measures, and keeps it there", file=sys.stderr)
        return 1
    found = places(kept.records, only=given.only)
    print(told(found))
    where: Path = given.page or given.file.parent / PAGE
    where.write_text(page(found), encoding="utf-8")
    print(f"\nwith plots: {where}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
