"""What a query string means, and everything that is wrong with one."""

from __future__ import annotations

import string
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.http import Refused
from contracts.resource import Resource
from modules.api_gateway import cursor, negotiation, rendering
from modules.api_gateway.query import Query, ops_of, read, read_one
from modules.api_gateway.source import Column
from modules.api_gateway.statement import compiled
from modules.api_gateway.values import BY_TYPE, OTHER, taken, type_of

TYPES = {
    "a": "int8",
    "b": "text",
    "c": "timestamptz",
    "d": "numeric",
    "e": "bool",
    "f": "float4",
    "g": "date",
    "h": "uuid",
    "i": "jsonb",
    "j": "inet",
}
COLUMNS = {name: Column(name, type_of(type_), nullable=name != "a") for name, type_ in TYPES.items()}
NAMES = tuple(COLUMNS)
RESOURCE = Resource(name="r", source="s.r", columns=NAMES, key=("a",), filters=NAMES, sort=NAMES[1:8])

words = st.text(max_size=30)
parameters = st.one_of(
    st.sampled_from(["sort", "fields", "limit", "cursor", *NAMES]),
    st.builds("{}.{}".format, st.sampled_from(NAMES), st.sampled_from(["gt", "lte", "ne", "null", "prefix", "x"])),
    words,
)
values = st.one_of(
    words,
    st.integers().map(str),
    st.floats().map(str),
    st.decimals().map(str),
    st.datetimes().map(str),
    st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat),
    st.dates().map(str),
    st.uuids().map(str),
    st.sampled_from(["true", "false", "infinity", "-a", "b,-c", "a,a", ""]),
)


def faults_of(*given: tuple[str, str]) -> list[str]:
    with pytest.raises(Refused) as caught:
        read(RESOURCE, COLUMNS, given)
    assert caught.value.status == 400
    return caught.value.faults


@given(st.lists(st.tuples(parameters, values), max_size=8))
def test_a_query_is_read_or_refused_with_all_its_faults_and_none_gets_into_the_sql(
    given: list[tuple[str, str]],
) -> None:
    told: tuple[int, bool] | None = None
    try:
        query = read(RESOURCE, COLUMNS, given)
    except Refused as refused:
        told = refused.status, bool(refused.faults)
    else:
        _check_statements(query)
    assert told in (None, (400, True))


def _check_statements(query: Query) -> None:
    for form in ("json", "text"):
        statement = compiled(RESOURCE, query, form)
        sql, args = statement.limited(10)
        named = f"{string.ascii_lowercase}_0123456789\"$.,:()<>=*#'{{}}[]- "
        assert set(sql) <= set(named), "nothing but our own words"
        assert sql.count("$") >= len(args)
        given_values = {text for filter_ in query.filters for text in filter_.values}
        assert all(
            value in given_values or value in (query.after or ()) for value in statement.args if isinstance(value, str)
        )


@given(st.permutations([("a", "1"), ("b", "x"), ("b", "y"), ("sort", "-c"), ("limit", "5")]))
def test_queries_that_mean_the_same_are_the_same(given: list[tuple[str, str]]) -> None:
    expected = read(RESOURCE, COLUMNS, [("a", "1"), ("b", "x"), ("b", "y"), ("sort", "-c"), ("limit", "5")])
    assert read(RESOURCE, COLUMNS, given).identity == expected.identity
    assert read(RESOURCE, COLUMNS, given[:4]).identity != expected.identity


def test_what_can_only_be_seen_can_not_be_asked_for() -> None:
    assert faults_of(("i", "1"), ("j.gt", "1")) == [
        "i: unknown; allowed is nothing: it can be seen only",
        "j.gt: unknown; allowed is nothing: it can be seen only",
    ]


def test_a_misspelt_filter_does_not_show_everything() -> None:
    assert faults_of(("limt", "1")) == ["'limt': unknown; did you mean limit?"]
    assert faults_of(("sort.gt", "1"))
    assert faults_of(("limit", "1"), ("limit", "2")) == ["limit: it is there 2 times"]


def test_the_number_of_values_is_bounded() -> None:
    assert faults_of(*(("a", str(number)) for number in range(101))) == ["filters: there are more than 100 values"]


@pytest.mark.parametrize(
    ("type_", "good", "bad"),
    [
        ("int4", ["0", "-9223372036854775808", "+7"], ["", "1.0", "1e3", "9223372036854775808", "٣", "1_0", " 1"]),
        ("numeric", ["1", "-1.50", ".5", "NaN"], ["", "1e5", "1,5", "--1", "inf"]),
        ("float8", ["1e5", "-inf", "nan", "1"], ["", "x", "1,5"]),
        ("float4", ["1.5", "inf"], ["1e300"]),
        ("bool", ["true", "false"], ["True", "1", ""]),
        ("date", ["2026-01-15", "infinity"], ["2026-02-30", "20260115", "15.01.2026", "2026-W01-1", ""]),
        ("timestamptz", ["2026-01-15T08:00:00Z", "2026-01-15 08:00:00.5+01:30"], ["2026-01-15", "2026-01-15T08:00:00"]),
        ("timestamp", ["2026-01-15T08:00:00", "2026-01-15"], ["2026-01-15T08:00:00Z", "now"]),
        ("uuid", ["00000000-0000-0000-0000-000000000000"], ["0", ""]),
        ("text", ["", "a b", "'; --"], ["a\0", "x" * 1001]),
    ],
)
def test_values_are_checked_by_the_type_of_their_column(type_: str, good: list[str], bad: list[str]) -> None:
    for text in good:
        assert taken(BY_TYPE[type_], text) == text or type_ != "text"
    for text in bad:
        with pytest.raises(ValueError):
            taken(BY_TYPE[type_], text)


def test_a_type_that_is_not_known_is_seen_only() -> None:
    assert type_of("tsvector") is OTHER
    assert ops_of(OTHER) == ()


@given(st.lists(st.sampled_from(["a", "-b", "c"]), min_size=1), st.data())
def test_a_cursor_is_read_as_it_was_written(sort: list[str], data: st.DataObject) -> None:
    place = [data.draw(st.none() | st.text()) for _ in sort]
    word = cursor.written(sort, place)
    assert list(cursor.read(word, sort)) == place
    assert word.replace("-", "").replace("_", "").isalnum()
    with pytest.raises(ValueError):
        cursor.read(word, [*sort, "d"])


@given(st.text(max_size=80))
def test_a_made_up_cursor_is_a_fault(word: str) -> None:
    with pytest.raises(ValueError):
        cursor.read(word, ["a"])


def test_a_key_has_all_its_parts() -> None:
    composite = Resource(name="r", source="r", columns=NAMES, key=("a", "b"))
    query = read_one(composite, COLUMNS, ["1", "x,y"], [("fields", "b")])
    assert [one.values for one in query.filters] == [("1",), ("x,y",)]
    with pytest.raises(Refused, match=r"2 parts, \{a\},\{b\}; 1 came"):
        read_one(composite, COLUMNS, ["1"], [])


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (None, negotiation.JSON),
        ("", negotiation.JSON),
        ("*/*", negotiation.JSON),
        ("text/csv", negotiation.CSV),
        ("text/*", negotiation.CSV),
        ("text/html,application/xhtml+xml,*/*;q=0.8", negotiation.JSON),
        ("application/json;q=0.1, application/x-ndjson", negotiation.NDJSON),
        ("application/jsonl", negotiation.NDJSON),
        ("application/json;q=0, */*;q=0.5", negotiation.CSV),
        ("TEXT/CSV;header=present;q=1", negotiation.CSV),
        ("text/csv;q=x, application/json;q=0.1", negotiation.JSON),
    ],
)
def test_the_form_that_is_liked_best_is_chosen(accept: str | None, form: str) -> None:
    assert negotiation.chosen(accept) == form


@given(st.text(max_size=60))
def test_no_accept_header_breaks_it(accept: str) -> None:
    told: object
    try:
        told = negotiation.chosen(accept)
    except Refused as refused:
        told = refused.status
    assert told in {406, *negotiation.ASKED}


def test_a_tag_is_compared_weakly_and_in_a_list() -> None:
    tag = rendering.tag_of(b"x")
    assert all(rendering.matches(given, tag) for given in (tag, f"W/{tag}", f'"a", {tag}', "*"))
    assert not any(rendering.matches(given, tag) for given in ("", '"a"', tag[1:-1]))
    assert tag != rendering.tag_of(b"x", "next")


@pytest.mark.parametrize(
    ("changed", "path"),
    [
        ({"columns": ("a", "b", "a")}, "columns[2]"),
        ({"key": ("z",)}, "key[0]"),
        ({"filters": ("z",)}, "filters[0]"),
        ({"columns": ("a", "limit"), "filters": ("limit",), "sort": ()}, "filters[0]"),
        ({"order": ("-b",), "sort": ()}, "order[0]"),
        ({"order": ("a", "-a")}, "order[1]"),
        ({"page_rows": 2000}, "page_rows"),
        ({"source": "millrace.jobs"}, "source"),
    ],
)
def test_a_declaration_that_contradicts_itself_is_told(changed: dict[str, Any], path: str) -> None:
    given = {"name": "r", "source": "r", "columns": ("a", "b"), "key": ("a",), "sort": ("b",), **changed}
    assert [place for place, _ in Resource(**given).faults()] == [path]
