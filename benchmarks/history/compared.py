"""A run held against the last ones of the same machine."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec

from benchmarks.history.noise import Change, judged
from benchmarks.history.record import Figure, Record

REFERENCE_RUNS = 5
"""So many runs of the code that is compared with, at most: the latest."""
NOISE_RUNS = 50
"""What is older says little about how the machine is today."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """Of one figure. Without a change, `why` says why there is none."""

    benchmark: str
    figure: Figure
    change: Change | None = None
    why: str = ""
    against: str = ""
    """The code that it was compared with."""


def compared(now: Record, history: Sequence[Record], *, against: str = "") -> list[Line]:
    """A line for each figure. `history` is what came before, in its order; `against` begins the commit to compare with,
    by default what was measured last of other code, or else of the same."""
    earlier = [one for one in history if one.benchmark == now.benchmark]
    alike = [one for one in earlier if one.machine == now.machine and one.settings == now.settings]
    return [_line(now, figure, earlier, alike, against) for figure in now.figures]


def _line(now: Record, figure: Figure, earlier: Sequence[Record], alike: Sequence[Record], against: str) -> Line:
    same_figure = [one for one in alike if (was := one.figure(figure.name)) is not None and was.unit == figure.unit]
    reference = _reference(now, same_figure, against)
    if not reference:
        why = _why_not(now, earlier, same_figure, against)
        return Line(benchmark=now.benchmark, figure=figure, why=why)
    change = judged(
        [_rounds(one, figure) for one in reference],
        figure.rounds,
        better=figure.better,
        same_code=_by_code(same_figure[-NOISE_RUNS:], figure),
    )
    return Line(benchmark=now.benchmark, figure=figure, change=change, against=str(reference[-1].code))


def _reference(now: Record, alike: Sequence[Record], against: str) -> list[Record]:
    """All of one code. A slowdown that is measured again is compared with what was before it again, and so is told
    again, until other code is measured."""
    if against:
        candidates = [one for one in alike if one.code.commit.startswith(against) and not one.code.dirty]
    else:
        candidates = [one for one in alike if one.code.state != now.code.state] or list(alike)
    if not candidates:
        return []
    state = candidates[-1].code.state
    return [one for one in candidates if one.code.state == state][-REFERENCE_RUNS:]


def _why_not(now: Record, earlier: Sequence[Record], same_figure: Sequence[Record], against: str) -> str:
    if same_figure:
        return f"nothing was measured of commit {against} on this machine"
    if not earlier:
        return "the first of its kind"
    here = [one for one in earlier if one.machine == now.machine]
    if not here:
        elsewhere = ", ".join(now.machine.differences(earlier[-1].machine))
        return f"not compared, the machine was another one: {elsewhere}"
    if (last := here[-1]).settings != now.settings:
        return f"not compared, it was measured otherwise: {_words(last.settings)} → {_words(now.settings)}"
    return "the figure is new"


def _words(settings: dict[str, int | float | str]) -> str:
    return " ".join(f"{name}={value}" for name, value in settings.items())


def _rounds(record: Record, figure: Figure) -> tuple[float, ...]:
    found = record.figure(figure.name)
    assert found is not None
    return found.rounds


def _by_code(records: Sequence[Record], figure: Figure) -> list[list[float]]:
    groups: dict[str, list[float]] = {}
    for one in records:
        groups.setdefault(one.code.state, []).append(statistics.median(_rounds(one, figure)))
    return list(groups.values())


def told(lines: Sequence[Line]) -> str:
    """A table for people, and below it in a sentence what is slower."""
    head = ("benchmark", "figure", "unit", "before", "now", "change", "noise", "verdict")
    rows = [head, *map(_cells, lines)]
    widths = [max(len(row[column]) for row in rows if len(row) > column) for column in range(len(head))]
    text = "\n".join(_row(row, widths) for row in rows)
    slower = [line for line in lines if is_slower(line)]
    return f"{text}\n\n{_ending(lines, slower)}"


def is_slower(line: Line) -> bool:
    return line.change is not None and line.change.verdict == "slower"


def _cells(line: Line) -> tuple[str, ...]:
    figure = line.figure
    start = (line.benchmark, figure.name, figure.unit)
    if line.change is None:
        return (*start, "", number(statistics.median(figure.rounds)), "", "", line.why)
    change = line.change
    return (
        *start,
        number(change.before),
        number(change.now),
        f"{change.ratio - 1:+.1%}",
        f"±{change.noise:.1%}",
        change.verdict,
    )


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    words, numbers = cells[:3], cells[3:7]
    left = [cell.ljust(width) for cell, width in zip(words, widths, strict=False)]
    right = [cell.rjust(width) for cell, width in zip(numbers, widths[3:7], strict=True)]
    return "  ".join([*left, *right, cells[7]]).rstrip()


def _ending(lines: Sequence[Line], slower: Sequence[Line]) -> str:
    codes = sorted({line.against for line in lines if line.against})
    if not codes:
        return "Nothing was compared."
    against = f"Compared with {', '.join(codes)}"
    if not slower:
        return f"{against}: nothing is slower than noise explains."
    names = ", ".join(f"{line.benchmark} ({line.figure.name})" for line in slower)
    return f"{against}: SLOWER than noise explains: {names}."


def number(value: float) -> str:
    """Three digits that count, and every one before the point."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:,.1f}" if value >= 10 else f"{value:,.2f}"
