"""A pattern and its length say the same as the pattern that was declared."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.data_quality.patterns import WORTH, by_length

SINGLES = ["a", "-", " ", "é", r"\d", r"\W", r"\.", r"\\", "[0-9]", r"[^\]a]", r"[\w-]", "."]
PARTS = st.tuples(st.sampled_from(SINGLES), st.none() | st.integers(0, 6))


def written(parts: list[tuple[str, int | None]]) -> str:
    return "".join(single if times is None else f"{single}{{{times}}}" for single, times in parts)


@given(parts=st.lists(PARTS, max_size=4), data=st.data())
def test_texts_of_that_length_match_the_one_as_the_other(
    parts: list[tuple[str, int | None]], data: st.DataObject
) -> None:
    pattern = written(parts)
    found = by_length(pattern)
    assert (found is not None) == (max((times or 1 for _, times in parts), default=0) >= WORTH)
    if found is None:
        return
    length, shorter = found
    for text in (data.draw(st.from_regex(pattern, fullmatch=True)), data.draw(st.text("a-é 1.\\\n", max_size=12))):
        both = len(text) == length and re.fullmatch(shorter, text, re.DOTALL) is not None
        assert both == (re.fullmatch(pattern, text, re.DOTALL) is not None)


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "a{2,9}",
        "a{4,}",
        "(?:ab){4}",
        "a{4}|b",
        "a{4}?",
        "a*",
        "[[:digit:]]{4}",
        "[]a]{4}",
        "^a{4}",
        r"\bx{4}",
        "{4}",
    ],
)
def test_what_has_no_one_length_is_left_as_it_is(pattern: str) -> None:
    assert by_length(pattern) is None
