"""When a figure counts as changed: the rules of `benchmarks.history.noise`."""

from __future__ import annotations

import math
import random
import statistics

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from benchmarks.history import noise
from benchmarks.history.record import Better

VALUES = st.floats(0.001, 1e9)
ROUNDS = st.lists(VALUES, min_size=1, max_size=7)
CALM = st.lists(st.floats(95.0, 105.0), min_size=5, max_size=5)
"""Five rounds of a quiet machine."""
BETTER = st.sampled_from(["more", "less"])
SAME_CODE = st.lists(st.lists(st.floats(98.0, 102.0), min_size=1, max_size=4), max_size=4)
FACTORS = st.floats(0.01, 100.0)


def worse(rounds: list[float], by: float, better: Better) -> list[float]:
    return [value * by if better == "less" else value / by for value in rounds]


@given(rounds=ROUNDS, better=BETTER, same_code=SAME_CODE, order=st.randoms(use_true_random=False))
def test_the_same_rounds_are_the_same(
    rounds: list[float], better: Better, same_code: list[list[float]], order: random.Random
) -> None:
    again = order.sample(rounds, len(rounds))
    assert noise.judged([rounds], again, better=better, same_code=same_code).verdict == "same"


@given(before=CALM, now=CALM, better=BETTER, same_code=SAME_CODE)
def test_twice_as_slow_is_always_told(
    before: list[float], now: list[float], better: Better, same_code: list[list[float]]
) -> None:
    for by, verdict in ((2.0, "slower"), (0.5, "faster")):
        change = noise.judged([before], worse(now, by, better), better=better, same_code=same_code)
        assert change.verdict == verdict


@given(
    before=st.lists(CALM, min_size=1, max_size=3),
    now=CALM,
    better=BETTER,
    by=st.floats(1.0, 1.5),
    more=st.floats(1.0, 100.0),
)
def test_what_is_slower_stays_so_when_it_gets_worse(
    before: list[list[float]], now: list[float], better: Better, by: float, more: float
) -> None:
    bad, worst = worse(now, by, better), worse(now, by * more, better)
    event(verdict := noise.judged(before, bad, better=better, same_code=()).verdict)
    if verdict == "slower":
        assert noise.judged(before, worst, better=better, same_code=()).verdict == "slower"


@given(before=ROUNDS, now=ROUNDS, better=BETTER, power=st.integers(-20, 20))
def test_the_unit_does_not_matter(before: list[float], now: list[float], better: Better, power: int) -> None:
    unit = 2.0**power  # exact, so that what is equal stays equal
    change = noise.judged([before], now, better=better, same_code=())
    scaled = noise.judged(
        [[value * unit for value in before]], [value * unit for value in now], better=better, same_code=()
    )
    assert scaled.verdict == change.verdict
    assert scaled.noise == pytest.approx(change.noise)


@given(before=CALM, now=CALM)
def test_more_and_less_are_each_others_mirror(before: list[float], now: list[float]) -> None:
    mirror = {"slower": "faster", "faster": "slower"}
    more = noise.judged([before], now, better="more", same_code=()).verdict
    less = noise.judged([before], now, better="less", same_code=()).verdict
    assert less == mirror.get(more, more)


@given(now=CALM, same_code=st.lists(st.floats(98.0, 102.0), min_size=3, max_size=6), factor=st.floats(1.1, 3.0))
def test_a_machine_that_varies_more_has_more_noise(now: list[float], same_code: list[float], factor: float) -> None:
    middle = statistics.median(same_code)
    wilder = [middle * (value / middle) ** factor for value in same_code]
    calm = noise.judged([now], now, better="more", same_code=[same_code])
    wild = noise.judged([now], now, better="more", same_code=[wilder])
    assert wild.noise >= calm.noise - 1e-9


def test_one_straggler_in_five_rounds_is_no_matter() -> None:
    before, now = [100.0, 101.0, 99.0, 100.5, 99.5], [100.2, 99.8, 12.0, 100.9, 99.1]
    assert noise.judged([before], now, better="more", same_code=()).verdict == "same"


def test_two_rounds_can_not_tell() -> None:
    assert noise.judged([[100.0, 101.0]], [50.0, 51.0], better="more", same_code=()).verdict == "too few rounds"
    assert noise.judged([[100.0, 101.0, 99.0]], [50.0, 51.0, 49.0], better="more", same_code=()).verdict == "slower"


def test_what_falls_apart_only_by_a_lucky_middle_is_the_same() -> None:
    # The medians are apart; the rounds are not.
    before, now = [100.0, 100.0, 100.0, 60.0, 61.0], [80.0, 80.0, 80.0, 120.0, 121.0]
    change = noise.judged([before], now, better="more", same_code=[[100.0, 100.1, 100.2]])
    assert change.verdict == "same"


def test_runs_of_the_same_code_say_what_a_machine_varies_by() -> None:
    before = now = [100.0] * 5
    unknown = noise.judged([before], now, better="more", same_code=[[100.0, 100.0]])
    known = noise.judged([before], now, better="more", same_code=[[100.0, 110.0, 90.0], [50.0]])
    calm = noise.judged([before], now, better="more", same_code=[[100.0, 100.0, 100.0]])
    assert unknown.noise == pytest.approx(math.expm1(3 * noise.ASSUMED * math.sqrt(2)))
    assert known.noise > 0.4
    assert calm.noise == pytest.approx(math.expm1(3 * noise.LEAST * math.sqrt(2)))


def test_the_spread_is_a_standard_deviation() -> None:
    made = random.Random(7)
    groups = [[math.exp(made.gauss(5.0, 0.03)) for _ in range(5)] for _ in range(2000)]
    assert noise.spread(groups) == pytest.approx(0.03, rel=0.03)


@pytest.mark.parametrize(
    ("before", "now", "p"),
    [
        # From the published tables of Mann and Whitney: U = 0, 1 and 4 of 5 and 5, 0 of 3 and 3.
        ([1, 2, 3, 4, 5], [6, 7, 8, 9, 10], 1 / 252),
        ([1, 2, 3, 4, 6], [5, 7, 8, 9, 10], 2 / 252),
        ([1, 2, 3, 4, 9], [5, 6, 7, 8, 10], 12 / 252),
        ([1, 2, 3], [4, 5, 6], 1 / 20),
        ([4, 5, 6], [1, 2, 3], 1 / 20),
        ([7, 7, 7], [7, 7, 7], 1.0),
    ],
)
def test_the_likelihood_is_that_of_mann_and_whitney(before: list[float], now: list[float], p: float) -> None:
    assert noise.likelihood(before, now) == pytest.approx(p)
