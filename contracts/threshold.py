"""Conditions on one number, as users write them: `when > 0`, `when >= 1.5%`, `when not between -10% and 50%`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Unit = Literal["", "%", "s"]

_NUMBER = r"-?[0-9]+(\.[0-9]+)?(%|s|m|h|d)?"
_TEXT = rf"^(when )?((<|<=|>|>=|=|!=) ?{_NUMBER}|not between {_NUMBER} and {_NUMBER})$"
_NUMBERS = re.compile(_NUMBER)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_OPS: dict[str, Callable[[Fraction, Fraction], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    "!=": operator.ne,
}

Limit = Annotated[
    str,
    Meta(
        pattern=_TEXT,
        description="A condition such as `when > 0`, `when >= 1.5%`, `when > 6h` or `when not between 900 and 1100`.",
    ),
]


class Threshold(msgspec.Struct, frozen=True, kw_only=True):
    """A `Limit` that was read. `numbers` has the bounds of `not between` (both are between), else one number; durations
    are in seconds."""

    op: str
    numbers: tuple[Fraction, ...]
    unit: Unit

    def holds(self, value: Fraction, whole: Fraction | None = None) -> bool:
        """Whether it is true of `value`; a condition in percent is on its share of `whole`: of nothing, nothing is 0 %
        and anything else more (or less) than every number."""
        if self.unit != "%" or whole is None:
            return self._of(value)
        if whole:
            return self._of(value * 100 / whole)
        return self._of(Fraction(0) if not value else Fraction(10) ** 300 * (1 if value > 0 else -1))

    def _of(self, value: Fraction) -> bool:
        if self.op == "not between":
            return not self.numbers[0] <= value <= self.numbers[1]
        return _OPS[self.op](value, self.numbers[0])


def threshold(limit: str) -> Threshold:
    """What a `Limit` says; raises `ValueError` with what is wrong with it."""
    if not re.match(_TEXT, limit):
        raise ValueError(f"{limit!r} is no condition: write, say, `when > 0`, `when >= 1.5%` or `when > 6h`")
    said = limit.removeprefix("when ")
    op = "not between" if said.startswith("not between") else (said[:2] if said[:2] in _OPS else said[0])
    numbers, units = [], set()
    for found in _NUMBERS.finditer(said):
        text, letter = found[0], found[2] or ""
        number = Fraction(text.removesuffix(letter) if letter else text)
        numbers.append(number * _SECONDS.get(letter, 1))
        units.add("s" if letter in _SECONDS else letter)
    if len(units) > 1:
        raise ValueError(f"{limit!r} mixes units: give both numbers the same one")
    if len(numbers) == 2 and numbers[0] > numbers[1]:
        raise ValueError(f"{limit!r} has its bounds the wrong way round: nothing is between them")
    (unit,) = units
    return Threshold(op=op, numbers=tuple(numbers), unit=unit)  # type: ignore[arg-type]
