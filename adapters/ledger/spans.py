"""Spans of finished positions: from the first, included, to the second, excluded."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise

from contracts.ports.partitions import Span

POSITIONS_END = 2**127
"""Positions lie below it: those of every bus do, and more can't be kept."""


def checked(span: Span) -> Span:
    """The same; raises `ValueError` for what is no span of positions."""
    first, past = span
    if not 0 <= first < past <= POSITIONS_END:
        raise ValueError(f"span {span}: use (first, past) with 0 <= first < past <= 2**127")
    return span


def apart(spans: Iterable[Span]) -> list[Span]:
    """The same, in order; raises `ValueError` for one that is no span, and for two that meet."""
    ordered = sorted(map(checked, spans))
    for one, next_ in pairwise(ordered):
        if next_[0] < one[1]:
            raise ValueError(f"spans {one} and {next_} have positions in common")
    return ordered


def merged(spans: Iterable[Span], *, floor: int | None = None) -> list[Span]:
    """In order, not touching each other; with `floor`, what lies below it is left out."""
    whole: list[Span] = []
    for first, past in sorted(spans):
        if floor is not None:
            if past <= floor:
                continue
            first = max(first, floor)
        if whole and first <= whole[-1][1]:
            whole[-1] = (whole[-1][0], max(past, whole[-1][1]))
        else:
            whole.append((first, past))
    return whole


def covers(spans: Sequence[Span], position: int) -> bool:
    """Whether one of the spans, which are in order, has the position."""
    at = bisect_right(spans, position, key=_first) - 1
    return at >= 0 and position < spans[at][1]


def meets(spans: Sequence[Span], span: Span) -> bool:
    """Whether one of the spans, which are in order, has a position of `span`."""
    at = bisect_right(spans, span[0], key=_past)
    return at < len(spans) and spans[at][0] < span[1]


def put(spans: list[Span], span: Span) -> None:
    """Add a span that meets none of the spans, which stay merged."""
    at = bisect_left(spans, span)
    first, past = span
    if at < len(spans) and spans[at][0] == past:
        past = spans.pop(at)[1]
    if at and spans[at - 1][1] == first:
        at -= 1
        first = spans.pop(at)[0]
    spans.insert(at, (first, past))


def _first(span: Span) -> int:
    return span[0]


def _past(span: Span) -> int:
    return span[1]
