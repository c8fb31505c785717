"""Conditions on numbers, as users write them."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.threshold import threshold

NUMBERS = st.fractions(-1000, 1000, max_denominator=8).filter(lambda number: number.denominator in (1, 2, 4, 8))


def written(number: Fraction) -> str:
    return str(float(number)).removesuffix(".0")


@pytest.mark.parametrize(
    ("limit", "value", "whole", "holds"),
    [
        ("when > 0", 0, None, False),
        ("when > 0", 1, None, True),
        ("> 0", 1, None, True),
        ("when >= 1.5%", 15, 1000, True),
        ("when > 1.5%", 15, 1000, False),
        ("when > 0%", 0, 0, False),
        ("when < -10%", -11, 100, True),
        ("when > 50%", 7, 0, True),
        ("when < -50%", 7, 0, False),
        ("when != 3", 3, None, False),
        ("when = 3", 3, None, True),
        ("when > 6h", 21601, None, True),
        ("when > 6h", 21600, None, False),
        ("when >= 1.5d", 129600, None, True),
        ("when not between 900 and 1100", 900, None, False),
        ("when not between 900 and 1100", 1101, None, True),
        ("when not between -10% and 50%", -11, 100, True),
        ("when not between -10% and 50%", 50, 100, False),
    ],
)
def test_what_it_says(limit: str, value: int, whole: int | None, *, holds: bool) -> None:
    assert threshold(limit).holds(Fraction(value), None if whole is None else Fraction(whole)) is holds


@given(
    value=st.integers(-(10**12), 10**12),
    number=NUMBERS,
    op=st.sampled_from(["<", "<=", ">", ">=", "=", "!="]),
    whole=st.none() | st.integers(1, 10**12),
)
def test_it_is_exact(value: int, number: Fraction, op: str, whole: int | None) -> None:
    said = threshold(f"when {op} {written(number)}{'' if whole is None else '%'}")
    share = Fraction(value) if whole is None else Fraction(value, whole) * 100
    expected = {
        "<": share < number,
        "<=": share <= number,
        ">": share > number,
        ">=": share >= number,
        "=": share == number,
        "!=": share != number,
    }[op]
    assert said.holds(Fraction(value), None if whole is None else Fraction(whole)) is expected


@given(low=NUMBERS, high=NUMBERS, value=st.integers(-2000, 2000))
def test_between_has_both_ends(low: Fraction, high: Fraction, value: int) -> None:
    limit = f"when not between {written(low)} and {written(high)}"
    if low > high:
        with pytest.raises(ValueError, match="the wrong way round"):
            threshold(limit)
    else:
        assert threshold(limit).holds(Fraction(value)) is not (low <= value <= high)


@pytest.mark.parametrize(
    ("limit", "why"),
    [
        ("more than 3", "is no condition"),
        ("when > x", "is no condition"),
        ("when >", "is no condition"),
        ("when > 1 %", "is no condition"),
        ("when > 1e3", "is no condition"),
        ("when between 1 and 2", "is no condition"),
        ("when not between 1 and 2%", "mixes units"),
        ("when not between 1h and 2", "mixes units"),
    ],
)
def test_what_is_none(limit: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        threshold(limit)


def test_any_share_of_nothing_is_more_than_every_number() -> None:
    assert threshold("when > 999999999%").holds(Fraction(1), Fraction(0))
    assert threshold("when < -999999999%").holds(Fraction(-1), Fraction(0))
