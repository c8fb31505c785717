"""Whether an event counts: the `where` of an aggregation as one function."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import msgspec

from contracts.aggregation import Aggregation, Condition
from contracts.event import Event, value_of

Passes = Callable[[msgspec.Struct], bool]
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "in": lambda value, values: value in values,
}


def conditions_of(aggregation: Aggregation, event: Event) -> Passes | None:
    """Whether an event meets all of them; None where there are none."""
    tests = [_test(condition, event) for condition in aggregation.where]
    if not tests:
        return None
    return tests[0] if len(tests) == 1 else lambda one: all(test(one) for test in tests)


def _test(condition: Condition, event: Event) -> Passes:
    column = event.column(condition.column)
    given = [value_of(column, value) for value in condition.given]
    compare, to = _OPERATORS[condition.op], frozenset(given) if condition.op == "in" else given[0]
    read = operator.attrgetter(condition.column)

    def passes(one: msgspec.Struct) -> bool:
        value = read(one)
        return value is not None and compare(value, to)

    return passes
