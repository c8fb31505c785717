"""What docs/scale.md marks as computed follows from what it shows as measured."""

from __future__ import annotations

import re

import pytest

from tests.architecture.doc_tables import ROOT

TEXT = (ROOT / "docs" / "scale.md").read_text()
ROW = re.compile(
    r"^\| (?P<what>[^|]+) \| (?P<how>[^|]*\d[^|]*) \| \*\*(?P<result>[^|*]+)\*\* computed(?:, [^|]*)? \|$", re.MULTILINE
)
UNITS = {"%": 1e-2, "µs": 1e-6, "ms": 1e-3, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "k": 1e3, "million": 1e6}
NUMBER = re.compile(r"(?P<number>\d[\d,]*(?:\.\d+)?) ?(?P<unit>%|µs|ms|kB|MB|GB|TB|million)?(?![\w.])")
COMPUTED = list(ROW.finditer(TEXT))


def value(number: str, unit: str | None) -> float:
    return float(number.replace(",", "")) * UNITS.get(unit or "", 1.0)


def evaluated(how: str) -> float:
    """From left to right, products before sums: numbers with their units, all other words passed over."""
    total = 0.0
    for term in how.split("+"):
        product = 1.0
        for sign, factor in re.findall(r"(^|[×÷])([^×÷]*)", term.strip()):  # noqa: RUF001 - as documents write it
            found = NUMBER.search(factor)
            assert found is not None, f"no number in {factor!r}"
            one = value(found["number"], found["unit"])
            product = product / one if sign == "÷" else product * one
        total += product
    return total


def test_there_are_some() -> None:
    assert len(COMPUTED) >= 15
    assert TEXT.count("** computed") == len(COMPUTED), "one of them has another form, and would not be checked"


@pytest.mark.parametrize("row", COMPUTED, ids=[row["what"] for row in COMPUTED])
def test_it_is_what_comes_out(row: re.Match[str]) -> None:
    result = NUMBER.search(row["result"])
    assert result is not None
    assert value(result["number"], result["unit"]) == pytest.approx(evaluated(row["how"]), rel=0.03)


@pytest.mark.parametrize("row", COMPUTED, ids=[row["what"] for row in COMPUTED])
def test_what_it_takes_of_the_processor_was_measured(row: re.Match[str]) -> None:
    """Each figure in microseconds or bytes of one event or job stands in one of the measured tables."""
    measured = {cell.strip() for line in TEXT.splitlines() if line.startswith("|") for cell in line.split("|")}
    for number in re.findall(r"([\d,.]+) (?:µs|B)\b", row["how"]):
        assert number in measured, f"{number} is in no table"
