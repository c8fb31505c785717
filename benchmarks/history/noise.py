"""Whether a figure has changed, or only varies. Pure; `docs/benchmarks.md` explains it to readers.

Everything is about logarithms, so that only ratios count: twice as slow is as far as twice as fast, in any unit.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Literal

import msgspec

from benchmarks.history.record import Better

Verdict = Literal["same", "slower", "faster", "too few rounds"]

SHAMOS = 1.048358
"""Makes the median of the differences of all pairs the standard deviation of what is normally distributed. M. I.
Shamos, 1976; P. J. Rousseeuw and C. Croux, Alternatives to the Median Absolute Deviation, 1993."""
OF_A_MEDIAN = math.sqrt(math.pi / 2)
"""The standard error of a median is so much more than that of a mean."""
DEVIATIONS = 3.0
"""So many of them are noise."""
LEAST_PAIRS = 3
"""Of runs of the same code (three runs have as many), before their spread is taken for that of the machine."""
ASSUMED = 0.03
"""The spread between runs of the same code, until it is measured."""
LEAST = 0.005
"""And never less: what is closer together is decided by where a linker or an allocator put things."""
ALPHA = 0.05
"""How likely rounds without any difference may fall apart as these do."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """`ratio` is now over before; `noise` is by which share a figure can change with nothing changed."""

    before: float
    now: float
    noise: float
    verdict: Verdict

    @property
    def ratio(self) -> float:
        return self.now / self.before


def spread(groups: Iterable[Sequence[float]]) -> float | None:
    """The standard deviation of logarithms within groups, by the median over all pairs, so that a straggler in four is
    no matter; None: there is no pair."""
    pairs = [abs(math.log(one / other)) for group in groups for one, other in combinations(group, 2)]
    return SHAMOS * statistics.median(pairs) if pairs else None


def between(same_code: Iterable[Sequence[float]]) -> float | None:
    """How medians of runs differ when nothing was changed: each group is of one code. None: too few to say."""
    groups = [medians for medians in same_code if len(medians) > 1]
    return spread(groups) if sum(math.comb(len(group), 2) for group in groups) >= LEAST_PAIRS else None


def likelihood(before: Sequence[float], now: Sequence[float]) -> float:
    """That of two samples from one source the second lies so far to one side: the one-sided p of the exact test of
    Mann and Whitney, to the side where it does lie. Values that are equal share their ranks."""
    ranks = _doubled_ranks([*before, *now])
    of_now = sum(ranks[len(before) :])
    sums = _sums_of(ranks, len(now))
    total = sum(sums.values())
    low = sum(ways for value, ways in sums.items() if value <= of_now)
    high = sum(ways for value, ways in sums.items() if value >= of_now)
    return min(low, high) / total


def judged(
    before: Sequence[Sequence[float]], now: Sequence[float], *, better: Better, same_code: Iterable[Sequence[float]]
) -> Change:
    """The rounds of a run held against those of earlier ones. Slower (or faster) is what is beyond the noise, and whose
    rounds fall apart too. `same_code` has the medians of earlier runs, grouped by code."""
    pooled = [value for rounds in before for value in rounds]
    was, is_now = statistics.median(map(statistics.median, before)), statistics.median(now)
    measured = between(same_code)
    within = (spread([*before, now]) or 0.0) * OF_A_MEDIAN / math.sqrt(len(now))
    deviation = max(within, ASSUMED if measured is None else measured, LEAST)
    noise = DEVIATIONS * deviation * math.sqrt(1 + 1 / len(before))
    gone = math.log(is_now / was)
    return Change(
        before=was,
        now=is_now,
        noise=math.expm1(noise),
        verdict=_verdict(gone if better == "less" else -gone, noise, pooled, now),
    )


def _verdict(slower_by: float, noise: float, before: Sequence[float], now: Sequence[float]) -> Verdict:
    if abs(slower_by) <= noise:
        return "same"
    if math.comb(len(before) + len(now), len(now)) * ALPHA < 1:
        return "too few rounds"
    if likelihood(before, now) > ALPHA:
        return "same"
    return "slower" if slower_by > 0 else "faster"


def _doubled_ranks(values: Sequence[float]) -> list[int]:
    """Twice the rank of each: whole numbers, though equals share theirs."""
    ordered = sorted(values)
    first = {value: index for index, value in reversed(list(enumerate(ordered)))}
    counts = Counter(ordered)
    return [2 * first[value] + counts[value] + 1 for value in values]


def _sums_of(ranks: Sequence[int], size: int) -> Counter[int]:
    """In how many ways so many of the ranks have each sum."""
    ways: list[Counter[int]] = [Counter({0: 1}), *(Counter() for _ in range(size))]
    for rank in ranks:
        for taken in range(size, 0, -1):
            for value, count in ways[taken - 1].items():
                ways[taken][value + rank] += count
    return ways[size]
