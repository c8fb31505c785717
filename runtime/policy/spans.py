"""Positions that are finished, as spans: sorted, not touching each other, from the first to one past the last."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator

from contracts.ports.partitions import Span


class Spans:
    """A fixed set of positions; `end` is above all of them (0 when there are none)."""

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        merged: list[list[int]] = []
        for start, stop in sorted(spans):
            if stop <= start:
                continue
            if merged and start <= merged[-1][1]:
                merged[-1][1] = max(merged[-1][1], stop)
            else:
                merged.append([start, stop])
        self._starts = [start for start, _ in merged]
        self._stops = [stop for _, stop in merged]
        self.end = self._stops[-1] if merged else 0

    def __contains__(self, position: int) -> bool:
        if position >= self.end:
            return False
        at = bisect_right(self._starts, position) - 1
        return at >= 0 and position < self._stops[at]

    def __iter__(self) -> Iterator[Span]:
        return iter(zip(self._starts, self._stops, strict=True))


def spans_of(positions: Iterable[int]) -> tuple[Span, ...]:
    """The fewest spans that have exactly these positions."""
    return tuple(Spans((position, position + 1) for position in positions))
