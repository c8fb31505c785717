"""Suites of checks as they are declared: all that is wrong with one is told at once."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from adapters.catalog.declaration import declaration_of
from adapters.catalog.kinds import SUITE
from contracts.errors import Faults
from contracts.quality import Suite, limits_of, name_of


def suite(*checks: dict[str, Any], **table: Any) -> Suite:
    plain = {"name": "s", "tables": [{"source": "orders", "checks": list(checks), **table}]}
    return msgspec.convert(plain, Suite)


def told(*checks: dict[str, Any], **table: Any) -> list[str]:
    return [f"{path.removeprefix('tables[0].')}: {why}" for path, why in suite(*checks, **table).faults()]


def test_a_sound_one() -> None:
    declared = suite(
        {"check": "row_count", "fail": "when < 1"},
        {"check": "nulls", "column": "Order ID"},
        {"check": "unique", "columns": ["a", "b"], "name": "key"},
    )
    assert declared.faults() == []
    checks = declared.tables[0].checks
    assert [name_of(check) for check in checks] == ["row_count", "nulls_order_id", "key"]
    assert [limits_of(check) for check in checks] == [(None, "when < 1"), (None, "when > 0"), (None, "when > 0")]
    assert limits_of(suite({"check": "nulls", "column": "a", "warn": "when > 0"}).tables[0].checks[0])[1] is None


def test_every_fault_is_told_with_its_line() -> None:
    text = """\
name: s
tables:
  - source: shop.orders
    checks:
      - check: row_count
      - check: range
        column: price
      - check: freshness
        column: at
        fail: when > 5
      - check: unique
        columns: [a, a]
        fail: when > 2h
"""
    with pytest.raises(Faults) as caught:
        declaration_of(SUITE, text.encode(), file="f", name="s")
    assert [fault.removeprefix("f:") for fault in caught.value.faults] == [
        "5 tables[0].checks[0].fail: row_count needs a condition, warn or fail or both: what is too much?",
        "6 tables[0].checks[1].min: a range has a min, a max, or both",
        "10 tables[0].checks[2].fail: 'when > 5': a condition on an age has a unit: s, m, h or d, as in `when > 6h`",
        "12 tables[0].checks[3].columns[1]: 'a' is there twice",
        "13 tables[0].checks[3].fail: 'when > 2h': a unit of time is for freshness; unique comes to a plain number",
    ]


def test_what_a_type_refuses_is_told_in_words() -> None:
    text = """\
name: s
tables:
  - source: shop.orders.x
    checks:
      - {check: nuls, column: a}
      - {check: nulls, column: a, fail: 0}
      - {check: nulls, column: a, fail: more}
"""
    with pytest.raises(Faults) as caught:
        declaration_of(SUITE, text.encode(), file="f", name="s")
    faults = "\n".join(caught.value.faults)
    assert "f:3 tables[0].source: is 'shop.orders.x', expected a table, `table` or `schema.table`, or a lake" in faults
    assert re.search(r"f:5 tables\[0\]\.checks\[0\]\.check: is 'nuls'; .*did you mean nulls\?", faults)
    assert "f:6 tables[0].checks[1].fail: is 0, expected a condition such as `when > 0`" in faults
    assert "f:7 tables[0].checks[2].fail: is 'more', expected a condition such as `when > 0`" in faults


@pytest.mark.parametrize(
    ("check", "fault"),
    [
        ({"check": "row_count", "fail": "when > 5%"}, "fail: 'when > 5%': row_count is a share of nothing"),
        ({"check": "range", "column": "a", "min": 5, "max": 1}, "min: 5 is above max, 1"),
        ({"check": "sql", "sql": "select 1", "returns": "value"}, "fail: sql needs a condition"),
        ({"check": "references", "columns": ["a"], "to": "lake:x"}, "to: 'lake:x' is in another store"),
        (
            {"check": "references", "columns": ["a"], "to": "x", "to_columns": ["a", "b"]},
            "to_columns: has 2 columns, and columns has 1",
        ),
    ],
)
def test_what_contradicts_itself(check: dict[str, Any], fault: str) -> None:
    (said,) = told(check)
    assert said.startswith(f"checks[0].{fault}")


@pytest.mark.parametrize(
    "pattern", ["(?i)a", "(?=a)b", r"(a)\1", r"\bword\b", "a{,3}", "a++", r"\Aa", "(?P<x>a)", "[", "(a"]
)
def test_patterns_that_engines_read_differently_are_refused(pattern: str) -> None:
    (said,) = told({"check": "pattern", "column": "a", "pattern": pattern})
    assert said.startswith("checks[0].pattern: ")


@pytest.mark.parametrize(
    "pattern",
    [r"\++", "[*+]+", r"[^@ ]+@[^@ ]+\.[a-z]+", r"(?:a|b)*?", r"\\1", "a{0,3}", r"[^\]+]+", "^a$", r"\.\d{2}"],
)
def test_patterns_that_all_know(pattern: str) -> None:
    assert told({"check": "pattern", "column": "a", "pattern": pattern}) == []


def test_two_checks_of_one_name_are_refused_since_their_histories_would_be_one() -> None:
    twice = {"check": "nulls", "column": "a"}
    (said,) = told(twice, {**twice, "filter": "b > 1"})
    assert said.startswith("checks[1].name: 'nulls_a' is another check of orders already")
    assert told(twice, {**twice, "filter": "b > 1", "name": "nulls_a_large"}) == []


def test_what_needs_a_date() -> None:
    nulls = {"check": "nulls", "column": "a"}
    assert not suite(nulls).needs_date
    assert suite(nulls, partition_by="day").needs_date
    assert suite(nulls, filter="day = {date}").needs_date
    assert suite({**nulls, "filter": "day = {date}"}).needs_date
    assert suite({"check": "sql", "sql": "select 1 where now() > {date}"}).needs_date
