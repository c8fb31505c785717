"""Everything that is wrong with a message is said at once: the field, what came, what is allowed."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from contracts.errors import BadInput
from contracts.job import JobState
from contracts.message import Contract
from runtime import arguments


class Inner(Contract, frozen=True):
    size: Annotated[int, Meta(ge=0)]


class Command(Contract, frozen=True):
    name: Annotated[str, Meta(min_length=1)]
    mode: Literal["fast", "slow"] = "fast"
    day: date | None = None
    rows: Annotated[int, Meta(ge=1, le=10)] = 1
    states: tuple[JobState, ...] = ()
    inner: Inner | None = None


def faults(given: object, *, strict: bool = True) -> list[str]:
    return arguments.faults_of(Command, given, strict=strict)


def test_what_fits_has_no_faults() -> None:
    assert faults({"name": "a", "day": "2026-01-15", "rows": 10, "states": ["done"], "inner": {"size": 0}}) == []
    assert arguments.from_mapping(Command, {"name": "a"}) == Command(name="a")


def test_every_fault_is_told_with_what_came_and_what_is_allowed() -> None:
    found = faults({"mode": "medium", "day": "yesterday", "rows": 0, "inner": {"size": -1}, "nmae": "a"})
    assert found == [
        "name: missing; it is required (string)",
        "mode: Invalid enum value 'medium'; it can be fast, slow; got 'medium'",
        "day: Invalid RFC3339 encoded date; got 'yesterday'",
        "rows: Expected `int` >= 1; got 0",
        "inner: Expected `int` >= 0 - at `$.size`; got {'size': -1}",
        "nmae: no such field; did you mean name?",
    ]


def test_an_unknown_field_that_is_like_none_lists_them() -> None:
    assert faults({"name": "a", "zzz": 1}) == ["zzz: no such field; there are: name, mode, day, rows, states, inner"]


@pytest.mark.parametrize(
    ("given", "kind"), [(None, "null"), ([1], "an array"), ("text", "a string"), (7, "a int"), (True, "a bool")]
)
def test_what_is_no_object_is_told(given: object, kind: str) -> None:
    [fault] = faults(given)
    assert fault.endswith(f"got {kind}")


def test_text_is_read_as_what_it_stands_for_where_that_is_asked() -> None:
    given = {"name": "5", "rows": "7", "day": "2026-01-15"}
    assert arguments.from_mapping(Command, given, strict=False) == Command(name="5", rows=7, day=date(2026, 1, 15))
    assert faults({"name": "a", "rows": "many"}, strict=False) == ["rows: Expected `int`; got 'many'"]
    assert faults({"name": "a", "rows": "7"}) == ["rows: Expected `int`, got `str`; got '7'"]


def test_what_can_be_chosen_is_listed_for_items_too() -> None:
    [fault] = faults({"name": "a", "states": ["done", "gone"]})
    assert "cancelled, done, failed, queued, running, skipped" in fault


def test_a_long_value_is_cut() -> None:
    [fault] = faults({"name": "a", "rows": "x" * 10_000})
    assert len(fault) < 200


def test_all_faults_are_raised_together() -> None:
    with pytest.raises(BadInput) as raised:
        arguments.from_mapping(Command, {"rows": 0})
    assert len(raised.value.faults) == 2


class Picky(msgspec.Struct):
    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low is above high")


def test_what_only_the_whole_contradicts_is_told() -> None:
    with pytest.raises(BadInput, match="low is above high"):
        arguments.from_mapping(Picky, {"low": 2, "high": 1})


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*Command.__struct_fields__, "other"]), anything))
def test_there_are_faults_exactly_where_it_does_not_fit(given: dict[str, object]) -> None:
    try:
        msgspec.convert(given, Command)
        fits = True
    except msgspec.ValidationError:
        fits = False
    assert (faults(given) == []) is fits
