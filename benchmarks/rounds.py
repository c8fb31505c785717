"""Contestants in turn, each round in a fresh process: minimum, median and maximum of each, and the ratio by round."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence

Figures = dict[str, float]
TIMEOUT_S = 900.0


class ContestantFailed(SystemExit):
    """With its last words; it ends whoever does not go on without it."""


def run(contestants: Mapping[str, Sequence[str]], *, rounds: int = 5, warm_up: bool = True) -> dict[str, list[Figures]]:
    """Run each command `rounds` times in turn; a contestant's last line of output is its figures as JSON."""
    measured: dict[str, list[Figures]] = {name: [] for name in contestants}
    for number in range(-1 if warm_up else 0, rounds):
        for name, command in contestants.items():
            figures = once(name, command)
            if number >= 0:
                measured[name].append(figures)
                shown = ", ".join(f"{key} {value:,.2f}" for key, value in figures.items())
                print(f"round {number + 1}/{rounds} {name}: {shown}", file=sys.stderr, flush=True)
    return measured


def once(name: str, command: Sequence[str]) -> Figures:
    """One round. Raises `ContestantFailed`."""
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode:
        raise ContestantFailed(f"{name} ended with {done.returncode}:\n{done.stderr[-4000:]}")
    figures: Figures = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def table(measured: Mapping[str, Sequence[Figures]]) -> str:
    """Each contestant's figures: median (min to max)."""
    lines = []
    for name, rounds in measured.items():
        for key in rounds[0]:
            values = [figures[key] for figures in rounds]
            spread = f"{statistics.median(values):,.2f} ({min(values):,.2f} to {max(values):,.2f}; n={len(values)})"
            lines.append(f"{name:<34} {key:<16} {spread}")
    return "\n".join(lines)


def ratio(measured: Mapping[str, Sequence[Figures]], ours: str, theirs: str, key: str) -> str:
    """Ours over theirs, round by round."""
    pairs = zip(measured[ours], measured[theirs], strict=True)
    values = [mine[key] / other[key] for mine, other in pairs]
    return f"{ours} / {theirs}, {key}: {statistics.median(values):.2f}x ({min(values):.2f} to {max(values):.2f})"
