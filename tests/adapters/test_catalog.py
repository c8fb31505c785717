from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.catalog import yaml_tree
from adapters.catalog.declaration import declaration_of
from adapters.catalog.kinds import DATASET
from adapters.catalog.yaml_files import YamlCatalog
from contracts.dataset import CsvFormat, Dataset, JsonlFormat
from contracts.errors import Faults, NotFound
from contracts.ports.catalog import Catalog

TRIPS = """\
# Trips by day.
name: trips
table: public.trips
source: data/{date}.csv
format: {type: csv, delimiter: ";"}
key: [id]
columns:
  - name: id
    type: int
    nullable: false
  - {name: fare, type: decimal, min: 0, max: 999.5}
  - {name: at, type: timestamp, default: 2026-01-01, timezone: Europe/Berlin}
  - {name: flag, choices: [no, yes, 12:30, "01"]}
"""


def faults_of(text: str | bytes, *, name: str | None = None) -> list[str]:
    """The faults of a declaration, without the name of its file."""
    content = text.encode() if isinstance(text, str) else text
    with pytest.raises(Faults) as caught:
        declaration_of(DATASET, content, file="datasets/trips.yaml", name=name)
    assert all(fault.startswith("datasets/trips.yaml") for fault in caught.value.faults)
    return [fault.removeprefix("datasets/trips.yaml").lstrip(":") for fault in caught.value.faults]


def with_line(line: str, text: str = TRIPS) -> str:
    """TRIPS with one more line at its top level, which is line 2."""
    return text.replace("# Trips by day.\n", f"# Trips by day.\n{line}\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "datasets").mkdir()
    return tmp_path


def test_a_dataset_is_read(folder: Path) -> None:
    (folder / "datasets" / "trips.yaml").write_text(TRIPS, encoding="utf-8")
    catalog: Catalog = YamlCatalog(folder)
    trips = catalog.dataset("trips")
    assert isinstance(trips.format, CsvFormat)
    assert trips.format.delimiter == ";"
    assert [column.name for column in trips.columns] == ["id", "fare", "at", "flag"]
    assert trips.column("id").nullable is False
    assert (trips.column("fare").min, trips.column("fare").max) == (0, 999.5)
    assert trips.column("at").default == "2026-01-01"
    assert trips.column("flag").choices == ("no", "yes", "12:30", "01"), "YAML 1.1 would have made other things of them"


def test_an_edit_needs_no_restart(folder: Path) -> None:
    catalog = YamlCatalog(folder)
    assert catalog.datasets() == []
    for name in ("b", "a"):
        (folder / "datasets" / f"{name}.yaml").write_text(TRIPS.replace("name: trips", f"name: {name}", 1))
    assert catalog.datasets() == ["a", "b"]
    path = folder / "datasets" / "a.yaml"
    path.write_text(path.read_text().replace("key: [id]", "mode: append"))
    assert catalog.dataset("a").mode == "append"


def test_what_is_not_there(folder: Path) -> None:
    catalog = YamlCatalog(folder)
    with pytest.raises(NotFound, match=r"there is no datasets/\*\.yaml in"):
        catalog.dataset("trips")
    (folder / "datasets" / "trips.yaml").write_text(TRIPS)
    (folder / "datasets" / "other.yml").write_text(TRIPS)
    (folder / "datasets" / ".hidden.yaml").write_text(TRIPS)
    assert catalog.datasets() == ["trips"]
    with pytest.raises(NotFound, match=r"no dataset 'trip' in the catalog; did you mean trips\?"):
        catalog.dataset("trip")
    with pytest.raises(NotFound, match="there are: trips"):
        catalog.dataset("zzzzz")
    with pytest.raises(NotFound, match=r"rename other\.yml to other\.yaml"):
        catalog.dataset("other")
    assert YamlCatalog(folder / "nowhere").datasets() == []


@pytest.mark.parametrize("name", ["../datasets/trips", "/etc/passwd", "", ".", "trips.yaml", "a/b", "nul\0", "TRIPS"])
def test_a_name_never_leads_elsewhere(folder: Path, name: str) -> None:
    (folder / "datasets" / "trips.yaml").write_text(TRIPS)
    with pytest.raises(NotFound, match="there is no dataset"):
        YamlCatalog(folder).dataset(name)


def test_what_cannot_be_opened(folder: Path) -> None:
    (folder / "datasets" / "trips.yaml").mkdir()
    with pytest.raises(Faults, match=r"datasets/trips\.yaml can't be read: Is a directory"):
        YamlCatalog(folder).dataset("trips")


def test_the_name_is_the_files(folder: Path) -> None:
    (folder / "datasets" / "tours.yaml").write_text(TRIPS)
    with pytest.raises(Faults, match=r"datasets/tours\.yaml:2 name: is 'trips': it must be the file's, tours"):
        YamlCatalog(folder).dataset("tours")


def test_every_fault_is_told_at_once_by_line_and_path() -> None:
    found = faults_of(
        """\
name: Trips
tabel: trips
source: data/{date}.csv
format: {type: cvs}
mode: upsrt
key: id
quarantine_days: 0
columns:
  - name: id
    type: intt
  - {name: ok, type: int, nullable: no, choices: [01, 2], pattern: "("}
  - name: x
    name: y
    max_length: "5"
    foo: 1
  - text
  - {name: price, type: decimal, precision: 99, default: {a: 1}}
  - {type: int}
""",
        name="trips",
    )
    assert found == [
        "1 name: is 'Trips', expected a lower-case SQL name (str matching regex '^[a-z_][a-z0-9_]{0,62}$')",
        "1 name: is 'Trips': it must be the file's, trips",
        "1 table: is missing; it is `table` or `schema.table`",
        "2 tabel: is unknown; did you mean table?",
        "4 format.type: is 'cvs'; allowed is one of csv, jsonl, parquet; did you mean csv?",
        "5 mode: is 'upsrt'; allowed is one of upsert, append, replace; did you mean upsert?",
        "6 key: is 'id', expected a list, each item a lower-case SQL name: put it in [ ]",
        "7 quarantine_days: is 0, expected a whole number (int >= 1)",
        "10 columns[0].type: is 'intt'; allowed is one of text, int, float, decimal, bool, date, timestamp, json, "
        "uuid; did you mean int?",
        "11 columns[1].choices[0]: 01 may be a number or a text: leave the zero out, or put it in quotes",
        "11 columns[1].nullable: is the text 'no', expected true or false",
        "11 columns[1].pattern: '(' is not a regular expression: missing ), unterminated subpattern at position 0",
        "11 columns[1].pattern: is for text columns, this one is int",
        "13 columns[2].name: is there twice, first in line 12",
        "14 columns[2].max_length: is the text '5', expected a whole number, without quotes",
        "15 columns[2].foo: is unknown",
        next(fault for fault in found if fault.startswith("16 columns[3]: is 'text', expected a mapping with name, ")),
        "17 columns[4].default: is a mapping, expected text or a whole number or a number or true or false",
        "17 columns[4].precision: is 99, expected a whole number (int <= 38)",
        "18 columns[5].name: is missing; it is a lower-case SQL name",
    ]


def test_contradictions_are_told_beside_faults_but_not_what_follows_from_those() -> None:
    found = faults_of(
        """\
name: trips
table: Trips
source: data.csv
key: [id, idd, when]
duplicates: {keep: highest, by: when}
columns:
  - {name: id, type: int, max_length: 3}
  - {name: when, type: dat, min: 2026-01-01}
  - {name: id, source: other}
"""
    )
    assert [fault.partition(" ")[2] for fault in found] == [
        "table: is 'Trips', expected `table` or `schema.table` "
        "(str matching regex '^[a-z_][a-z0-9_]{0,62}(\\\\.[a-z_][a-z0-9_]{0,62})?$')",
        "key[1]: 'idd' is not among the columns (id, when, id)",
        "columns[0].max_length: is for text columns, this one is int",
        "columns[1].type: is 'dat'; allowed is one of text, int, float, decimal, bool, date, timestamp, json, uuid; "
        "did you mean date?",
        "columns[2].name: 'id' is there twice",
    ]
    assert [fault.partition(" ")[0] for fault in found] == ["2", "4", "7", "8", "9"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("key: []", "2 key: mode upsert needs one"),
        ("partition_by: at", "partition_by: is for mode replace"),
        ("duplicates: {keep: highest}", "2 duplicates.by: keep: highest needs the column"),
        ("description: 5", "2 description: is read as a whole number, expected text: put it in quotes, '5'"),
        ("description: true", "2 description: is read as true or false, expected text: put it in quotes, 'true'"),
        ("description:", "2 description: is nothing, expected text"),
        ("description: [a]", "2 description: is a list, expected text"),
        ("allow_empty: yes", "2 allow_empty: is the text 'yes', expected true or false"),
        ("quarantine_rows: 1.5", "2 quarantine_rows: is 1.5, expected a whole number"),
        ("max_row_bytes: 1_000", "2 max_row_bytes: is the text '1_000', expected a whole number"),
        ("compression: zip", "2 compression: is 'zip'; allowed is one of auto, none, gzip, zstd"),
        ("compression: [zip]", "2 compression: is a list, expected one of auto, none, gzip, zstd"),
        ("duplicates: last", "2 duplicates: is 'last', expected a mapping with keep, by"),
        ("1: x", "2 1: is unknown"),
    ],
)
def test_one_fault(line: str, expected: str) -> None:
    text = "\n".join(one for one in TRIPS.splitlines() if one.split(":")[0] != line.split(":")[0])
    found = faults_of(with_line(line, text))
    assert any(expected in fault for fault in found), found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", " is empty"),
        ("# only a comment\n", " is empty"),
        ("  \n", " is empty"),
        ("just text\n", "1 is 'just text', expected a mapping with name, table, source"),
        ("- a\n- b\n", "1 is a list, expected a mapping"),
        ("name: trips\n\ttable: x\n", "2 has a tab: YAML is indented with spaces"),
        ("name: trips\ntable: [x\nsource: y\n", "3 is not YAML"),
        ("name: 'trips\n", "is not YAML"),
        ("name: trips\n  table: x\n", "2 is not YAML: mapping values are not allowed"),
        ("a: 1\n---\nb: 2\n", "2 a second document begins here"),
        ("name: !!python/object:os.system x\n", "1 tags (tag:yaml.org,2002:python/object:os.system) are not read"),
        ("name: !secret x\n", "1 tags (!secret) are not read"),
        ("name: &a trips\ntable: *b\n", "2 "),
        ("a: &a\n  b: *a\n", "2 *a refers to nothing before it, or to what it is part of"),
        ("base: &b {a: 1}\nother:\n  <<: *b\n", "3 merge keys (<<) are not read"),
        ("name: {trips}: x\n", "1 "),
        ("? [a]\n: b\n", "1 a mapping or list stands where a key is wanted"),
        ("a: " + "[" * 200 + "]" * 200, "1 is nested more than 32 deep"),
        ("a: " + "9" * 5000, "1 a: 99999999999999999999… is too long for a number"),
        ("a: \x01\n", "is not"),
    ],
)
def test_broken_yaml(text: str, expected: str) -> None:
    assert any(fault.startswith(expected) or (expected in fault) for fault in faults_of(text)), faults_of(text)


def test_an_alias_bomb_is_refused() -> None:
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    (found,) = faults_of("\n".join(lines))
    assert "has more than 100000 values, those that aliases repeat included" in found


def test_an_honest_alias_is_fine() -> None:
    text = TRIPS.replace("key: [id]", "key: &key [id]")
    text += "  - &tip {name: tip, type: decimal, min: 0}\n"
    text += "  - {name: toll, choices: &c [a, b]}\n  - {name: p, choices: *c}\n"
    dataset = declaration_of(DATASET, text.encode(), file="x", name="trips")
    assert dataset.column("p").choices == ("a", "b")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (TRIPS.encode() + b"# caf\xe9\n", "14 byte 0xe9 is not UTF-8: save the file as UTF-8"),
        (TRIPS.encode("utf-16"), "1 byte 0xff is not UTF-8"),
        (b"name: \0\n", "is not"),
        (b"x" * (yaml_tree.LARGEST_BYTES + 1), "has 1048577 bytes: a declaration has at most 1048576"),
    ],
)
def test_odd_bytes(content: bytes, expected: str) -> None:
    assert any(expected in fault for fault in faults_of(content)), faults_of(content)


def test_windows_files_are_fine() -> None:
    content = b"\xef\xbb\xbf" + TRIPS.replace("\n", "\r\n").encode()
    assert declaration_of(DATASET, content, file="x", name="trips").name == "trips"
    assert faults_of(with_line("foo: 1").replace("\n", "\r\n"))[0] == "2 foo: is unknown"


def test_jsonl_and_parquet_formats_take_only_their_own_fields() -> None:
    text = TRIPS.replace('{type: csv, delimiter: ";"}', "{type: jsonl}")
    assert declaration_of(DATASET, text.encode(), file="x").format == JsonlFormat()
    text = TRIPS.replace('{type: csv, delimiter: ";"}', "{type: jsonl, delimiter: x}")
    assert faults_of(text) == ["5 format.delimiter: is unknown"]
    text = TRIPS.replace('{type: csv, delimiter: ";"}', "{delimiter: x}")
    assert faults_of(text) == ["5 format.type: is missing; allowed is csv, jsonl, parquet"]


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60) | st.text(alphabet="abc:-[]{}&*!|>'\"#%@`\n \t?,", max_size=80))
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    with pytest.raises(Faults) as caught:
        declaration_of(DATASET, text.encode("utf-8", "surrogatepass"), file="f.yaml")
    assert all(fault.startswith("f.yaml") for fault in caught.value.faults)


scalars: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 50), st.sampled_from(["", "id", "text", "int", "x y", "2026-01-01", "no"])
)
columns = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["id", "a", "b", "Bad Name"]) | scalars},
        optional={
            "type": st.sampled_from(["text", "int", "date", "timestamp", "nope"]),
            "nullable": scalars,
            "choices": st.lists(scalars, max_size=3) | scalars,
            "default": scalars,
            "max_length": scalars,
            "precision": scalars,
            "unknown": scalars,
        },
    ),
    max_size=4,
)
declarations = st.fixed_dictionaries(
    {"name": st.just("trips") | scalars, "source": st.just("a/{date}.csv") | scalars, "columns": columns | scalars},
    optional={
        "table": st.just("trips") | scalars,
        "key": st.lists(st.sampled_from(["id", "a", "zz"]), max_size=2) | scalars,
        "mode": st.sampled_from(["upsert", "append", "replace", "x"]),
        "partition_by": st.sampled_from(["id", "a"]) | scalars,
        "format": st.sampled_from(
            [{"type": "csv"}, {"type": "jsonl"}, {"type": "x"}, {}, {"type": "csv", "header": 1}]
        ),
        "duplicates": st.sampled_from([{}, {"keep": "highest", "by": "a"}, {"keep": 1}, "last"]),
        "quarantine_days": scalars,
    },
)


@settings(max_examples=150, deadline=None)
@given(declarations)
def test_what_is_accepted_is_what_msgspec_accepts(declared: dict[str, Any]) -> None:
    """The second opinion: JSON is YAML, and msgspec decodes it by the same contract, one fault at a time."""
    content = json.dumps(declared, indent=1).encode()
    try:
        expected = msgspec.json.decode(content, type=Dataset)
    except msgspec.ValidationError:
        expected = None
    if expected is not None and not expected.faults():
        assert declaration_of(DATASET, content, file="f") == expected
    else:
        with pytest.raises(Faults):
            declaration_of(DATASET, content, file="f")
