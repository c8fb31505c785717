"""How figures went over the runs of one machine, a line each, for a terminal."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

import msgspec

from benchmarks.history.compared import compared, number
from benchmarks.history.noise import Change
from benchmarks.history.record import Better, Machine, Record, Setting

BARS = "▁▂▃▄▅▆▇█"
SHOWN = 24
"""Runs of a line: the latest."""


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One run: its rounds, and what they say of a change."""

    record: Record
    rounds: tuple[float, ...]
    change: Change | None

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of one benchmark, measured in one way on one machine."""

    benchmark: str
    figure: str
    unit: str
    better: Better
    settings: dict[str, Setting]
    points: tuple[Point, ...]


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A machine with all that was measured on it."""

    machine: Machine
    series: tuple[Series, ...]


def places(records: Sequence[Record], *, only: Iterable[str] = ()) -> list[Place]:
    """By machine, the one of the last run first; of each benchmark the way in which it is measured now."""
    named = set(only)
    machines = dict.fromkeys(one.machine for one in reversed(records))
    return [
        Place(machine=machine, series=tuple(_series([one for one in records if one.machine == machine], named)))
        for machine in machines
    ]


def _series(records: Sequence[Record], named: set[str]) -> Iterable[Series]:
    for benchmark in dict.fromkeys(one.benchmark for one in records):
        if named and benchmark not in named:
            continue
        of_it = [one for one in records if one.benchmark == benchmark]
        alike = [one for one in of_it if one.settings == of_it[-1].settings]
        lines = [(one, line) for index, one in enumerate(alike) for line in compared(one, alike[:index])]
        for figure in of_it[-1].figures:
            points = [
                Point(record=one, rounds=line.figure.rounds, change=line.change)
                for one, line in lines
                if (line.figure.name, line.figure.unit) == (figure.name, figure.unit)
            ]
            yield Series(
                benchmark=benchmark,
                figure=figure.name,
                unit=figure.unit,
                better=figure.better,
                settings=of_it[-1].settings,
                points=tuple(points),
            )


def told(found: Sequence[Place]) -> str:
    """A block for each machine."""
    return "\n\n".join("\n".join([str(place.machine), "", *_table(place.series)]) for place in found)


def _table(series: Sequence[Series]) -> list[str]:
    head = ("benchmark", "figure", "unit", "runs", "least", "most", "last", "verdict", "the latest runs, last at right")
    rows = [head, *map(_cells, series)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if 3 <= column <= 6 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _cells(one: Series) -> tuple[str, ...]:
    medians = [point.median for point in one.points]
    last = one.points[-1]
    return (
        one.benchmark,
        one.figure,
        one.unit,
        str(len(medians)),
        number(min(medians)),
        number(max(medians)),
        number(last.median),
        last.change.verdict if last.change else "",
        bars(medians[-SHOWN:]),
    )


def bars(values: Sequence[float]) -> str:
    """Between the least and the most of them; without a difference in the middle."""
    least, most = min(values), max(values)
    if least == most:
        return BARS[len(BARS) // 2] * len(values)
    return "".join(BARS[round((value - least) / (most - least) * (len(BARS) - 1))] for value in values)
