"""Parameters of the port, as CQL has them: each value lands where its number stands, and nothing else is touched."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.database.cassandra.parameters import parameters_of
from contracts.errors import Permanent

PLAIN = st.text(st.sampled_from("abc (),=\n*/-"), max_size=8).filter(
    lambda text: not any(opening in text for opening in ("--", "//", "/*"))
)
INSIDE = st.text(st.sampled_from("a$1?' \n"), max_size=8)
QUOTED = st.one_of(
    INSIDE.map(lambda text: "'" + text.replace("'", "''") + "'"),
    INSIDE.map(lambda text: '"' + text.replace("'", '""') + '"'),
    INSIDE.filter(lambda text: "$" not in text).map(lambda text: f"$${text}$$"),
    INSIDE.map(lambda text: f"/*{text}*/"),
    INSIDE.filter(lambda text: "\n" not in text).map(lambda text: f"--{text}\n"),
    INSIDE.filter(lambda text: "\n" not in text).map(lambda text: f"//{text}\n"),
)
NUMBER = st.integers(1, 12)
PIECES = st.lists(st.one_of(NUMBER, QUOTED, PLAIN.map(lambda text: f" {text} ")), max_size=20)


@given(PIECES)
def test_each_value_lands_where_its_number_stands_and_what_is_quoted_stays(pieces: list[int | str]) -> None:
    sql = "".join(f"${piece} " if isinstance(piece, int) else piece for piece in pieces)
    numbers = [piece for piece in pieces if isinstance(piece, int)]
    found = parameters_of(sql)
    assert found.cql == "".join("? " if isinstance(piece, int) else piece for piece in pieces)
    assert found.count == max(numbers, default=0)
    assert found.values(range(1, found.count + 1)) == numbers


@given(st.lists(NUMBER, min_size=1), st.integers(0, 20))
def test_values_that_are_too_few_or_too_many_are_told(numbers: list[int], came: int) -> None:
    found = parameters_of(", ".join(f"${number}" for number in numbers))
    if came == found.count:
        assert len(found.values(range(came))) == len(numbers)
    else:
        with pytest.raises(Permanent, match=rf"^{came} values came for a statement that takes {found.count}: "):
            found.values(range(came))


@pytest.mark.parametrize("sql", ["select ?", "select 'a', ? from t", "select $0", "select $00"])
def test_parameters_of_another_kind_are_told(sql: str) -> None:
    with pytest.raises(Permanent, match=r"^parameters are \$1, \$2 and so on"):
        parameters_of(sql)
