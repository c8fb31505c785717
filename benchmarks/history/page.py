"""The history as one HTML page with a plot of each figure: nothing is loaded from anywhere, and no script runs."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from benchmarks.history.compared import number
from benchmarks.history.record import Setting
from benchmarks.history.trend import Place, Point, Series

SHOWN = 60
"""Runs of a plot: the latest."""
WIDTH, HEIGHT = 440, 150
LEFT, RIGHT, TOP, BOTTOM = 62, 12, 14, 24
ROOM = 0.08
"""Above and below what was measured, of its range."""
LEAST_RANGE = 0.1
"""Of the largest value: what only varies is not to look like a cliff."""

STYLE = """
:root { color-scheme: light dark; --ink: #1c2128; --dim: #66707b; --line: #d8dee4; --card: #f6f8fa; --page: #ffffff;
  --ours: #1f6feb; --slower: #c4320a; --faster: #1a7f37 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --dim: #9198a1; --line: #3d444d; --card: #151b23;
  --page: #0d1117; --ours: #58a6ff; --slower: #ff8d6b; --faster: #56d364 } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); margin: 2rem auto;
  max-width: 62rem; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2.5rem } h3 { font-size: 1rem; margin: 1.6rem 0 .4rem }
p, figcaption { color: var(--dim) } p { margin: .3rem 0 }
.plots { display: flex; flex-wrap: wrap; gap: 1rem }
figure { margin: 0; padding: .7rem; background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  width: min(100%, 29rem); box-sizing: border-box }
figcaption b { color: var(--ink) } svg { width: 100%; height: auto; display: block }
text { font: 11px system-ui, sans-serif; fill: var(--dim) }
.grid { stroke: var(--line) } .median { stroke: var(--ours); fill: none; stroke-width: 2 }
.round { fill: var(--dim); opacity: .45 } .run { fill: var(--ours) }
.slower { fill: var(--slower) } .faster { fill: var(--faster) }
"""


def page(found: Sequence[Place]) -> str:
    """The whole of it."""
    body = "".join(map(_place, found)) or "<p>Nothing was measured yet: <code>./task bench</code> does.</p>"
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Millrace: benchmarks</title>\n<style>{STYLE}</style>\n<h1>Millrace: benchmarks</h1>\n"
        "<p>Each plot is one figure over the runs on one machine: small dots are rounds, the line goes through their "
        'medians. A run is <b class="slower" style="color:var(--slower)">slower</b> or '
        '<b style="color:var(--faster)">faster</b> than the code before it when noise does not explain it.</p>\n'
        f"{body}</html>\n"
    )


def _place(place: Place) -> str:
    names = dict.fromkeys(one.benchmark for one in place.series)
    parts = [f"<h2>{escape(str(place.machine))}</h2>\n"]
    for name in names:
        series = [one for one in place.series if one.benchmark == name]
        parts.append(f"<h3>{escape(name)}</h3>\n<p>{escape(_words(series[0].settings))}</p>\n")
        parts.append(f'<div class="plots">\n{"".join(map(_figure, series))}</div>\n')
    return "".join(parts)


def _words(settings: dict[str, Setting]) -> str:
    return ", ".join(
        f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}" for name, value in settings.items()
    )


def _figure(one: Series) -> str:
    last = one.points[-1]
    change = ""
    if last.change is not None:
        change = f", {last.change.ratio - 1:+.1%} (noise ±{last.change.noise:.1%}): {last.change.verdict}"
    told = f"{number(last.median)} {one.unit}{change}"
    return (
        f"<figure><figcaption><b>{escape(one.figure)}</b>, {escape(one.unit)}, {one.better} is better<br>"
        f"{escape(told)}</figcaption>\n{_plot(one)}</figure>\n"
    )


def _plot(one: Series) -> str:
    points = one.points[-SHOWN:]
    values = [value for point in points for value in point.rounds]
    low, high = _range(values)

    def x(index: int) -> float:
        inner = WIDTH - LEFT - RIGHT
        return LEFT + (inner / 2 if len(points) == 1 else inner * index / (len(points) - 1))

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low)

    parts = [_level(value, y(value)) for value in (low, (low + high) / 2, high)]
    for index, point in enumerate(points):
        parts += [f'<circle class="round" cx="{x(index):.1f}" cy="{y(value):.1f}" r="2"/>' for value in point.rounds]
    line = " ".join(f"{x(index):.1f},{y(point.median):.1f}" for index, point in enumerate(points))
    parts.append(f'<polyline class="median" points="{line}"/>')
    parts += [_run(point, x(index), y(point.median)) for index, point in enumerate(points)]
    parts += _ends(points)
    label = escape(f"{one.benchmark}, {one.figure}: {len(points)} runs, {number(low)} to {number(high)} {one.unit}")
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>\n'


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    half = max(high - low, LEAST_RANGE * high) * (0.5 + ROOM)
    middle = (low + high) / 2
    return max(0.0, middle - half), middle + half


def _level(value: float, at: float) -> str:
    return (
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'
        f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{number(value)}</text>'
    )


def _run(point: Point, x: float, y: float) -> str:
    verdict = point.change.verdict if point.change else ""
    marked = verdict if verdict in ("slower", "faster") else "run"
    record = point.record
    said = f"{record.at:%Y-%m-%d %H:%M} UTC, {record.code}, load {record.load:.2f}: {number(point.median)} {verdict}"
    radius = 5 if marked != "run" else 3
    return f'<circle class="{marked}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"><title>{escape(said)}</title></circle>'


def _ends(points: Sequence[Point]) -> list[str]:
    first, last = points[0].record, points[-1].record
    bottom = HEIGHT - 6
    ends = [
        f'<text x="{WIDTH - RIGHT}" y="{bottom}" text-anchor="end">{last.at:%Y-%m-%d} {escape(str(last.code))}</text>'
    ]
    if len(points) > 1:
        ends.append(f'<text x="{LEFT}" y="{bottom}">{first.at:%Y-%m-%d} {escape(str(first.code))}</text>')
    return ends
