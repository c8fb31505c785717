"""Every kind of declaration is read by one mechanism; datasets have `test_catalog.py`."""

from __future__ import annotations

from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from adapters.catalog.declaration import declaration_of
from adapters.catalog.kinds import EVENT, KINDS
from adapters.catalog.schema import catalog_schema
from adapters.catalog.yaml_files import YamlCatalog
from adapters.catalog.yaml_tree import parse
from contracts.errors import Faults, NotFound
from contracts.ports.catalog import Catalog

CATALOG = Path(__file__).parents[2] / "catalog"


def faults_of(text: str) -> list[str]:
    with pytest.raises(Faults) as caught:
        declaration_of(EVENT, text.encode(), file="f", name="trip")
    return [fault.removeprefix("f:") for fault in caught.value.faults]


def test_the_examples_are_sound() -> None:
    survey = YamlCatalog(CATALOG).survey()
    assert survey.faults == ()
    assert list(survey.counts) == [kind.folder for kind in KINDS]
    assert all(survey.counts.values()), "each kind has an example"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_examples_are_what_the_schema_takes(kind: object) -> None:
    (found,) = [one for one in KINDS if one is kind]
    validator = Draft202012Validator(catalog_schema(found))
    for path in (CATALOG / found.folder).glob("*.yaml"):
        root, faults = parse(path.read_text(encoding="utf-8"))
        assert not faults
        validator.validate(root.plain())


def test_a_trip_is_the_datasets_row() -> None:
    catalog: Catalog = YamlCatalog(CATALOG)
    trip, trips = catalog.event("trip"), catalog.dataset("trips")
    assert [(one.name, one.type, one.choices) for one in trip.columns] == [
        (one.name, one.type, one.choices) for one in trips.columns
    ]
    assert (trip.topic, trip.key) == ("trips", "pickup_location_id")


def test_an_event_that_is_not_there(tmp_path: Path) -> None:
    catalog = YamlCatalog(tmp_path)
    with pytest.raises(NotFound, match=r"no event 'trip' in the catalog; there is no events/\*\.yaml in"):
        catalog.event("trip")
    (tmp_path / "events").mkdir()
    (tmp_path / "events" / "trips.yaml").write_text("name: trips\n")
    assert (catalog.events(), catalog.datasets()) == (["trips"], [])
    with pytest.raises(NotFound, match=r"did you mean trips\?"):
        catalog.event("trip")
    with pytest.raises(Faults, match=r"event trips:\n  - events/trips\.yaml:1 columns: is missing"):
        catalog.event("trips")


def test_the_survey_tells_every_fault_of_every_kind(tmp_path: Path) -> None:
    for folder, text in [("datasets", "name: x\n"), ("events", "name: x\n"), ("events", "name: [\n")]:
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / f"x{len(text)}.yaml").write_text(text)
    survey = YamlCatalog(tmp_path).survey()
    assert survey.counts["datasets"] == 1
    assert survey.counts["events"] == 1
    assert {fault.partition(":")[0] for fault in survey.faults} == {"datasets/x8.yaml", "events/x8.yaml"}


def test_every_fault_of_an_event_is_told_at_once() -> None:
    assert faults_of(
        """\
name: trip
topic: Trips
key: zone
partitions: 0
land: {lake: {path: trips}, rows: many}
columns:
  - {name: at, type: timestmap}
  - {name: fare, type: decimal, min: 5, max: 1}
  - {name: fare, format: "%Y"}
"""
    ) == [
        "2 topic: is 'Trips', expected text (str matching regex '^[a-z][a-z0-9_-]*(\\\\.[a-z0-9_-]+)*$')",
        "3 key: 'zone' is not among the columns (at, fare, fare)",
        "4 partitions: is 0, expected a whole number (int >= 1)",
        "5 land.rows: is the text 'many', expected a whole number",
        "7 columns[0].type: is 'timestmap'; allowed is one of text, int, float, decimal, bool, date, timestamp, json, "
        "uuid; did you mean timestamp?",
        "8 columns[1].min: 5 is above max, 1",
        "9 columns[2].format: is for dates and timestamps, this column is text",
        "9 columns[2].format: messages are JSON: dates and timestamps are ISO 8601",
        "9 columns[2].name: 'fare' is there twice",
        "9 columns[2].source: 'fare' is there twice",
    ]


def test_nothing_is_told_that_only_follows_from_a_faulty_time() -> None:
    assert faults_of(
        """\
name: trip
topic: trips
key: zone
time: {column: at, max_future_s: -1}
land: {lake: {path: trips}}
columns:
  - {name: at, type: timestamp, nullable: false}
"""
    ) == ["4 time.max_future_s: is -1, expected a number (float >= 0.0)"]


ENRICHMENT = """\
name: rekeyed
event: trip
to: trips.rekeyed
key: vendor_id
"""


def test_an_enrichment_is_checked_against_its_event(tmp_path: Path) -> None:
    (tmp_path / "enrichments").mkdir()
    (tmp_path / "events").mkdir()
    path, catalog = tmp_path / "enrichments" / "rekeyed.yaml", YamlCatalog(tmp_path)

    def told() -> list[str]:
        with pytest.raises(Faults) as caught:
            catalog.enrichment("rekeyed")
        return [fault.removeprefix("enrichments/rekeyed.yaml:") for fault in caught.value.faults]

    path.write_text(ENRICHMENT)
    assert told() == [f"2 event: there is no event 'trip' in the catalog; there is no events/*.yaml in {tmp_path}"]
    (tmp_path / "events" / "trip.yaml").write_text("name: trip\ntopic: trips\ncolumns: 5\n")
    (fault,) = told()
    assert fault.startswith("2 event: 'trip' can't be used: events/trip.yaml:3 columns: is 5, expected a list")
    (tmp_path / "events" / "trip.yaml").write_text(
        "name: trip\ntopic: trips\ncolumns:\n  - {name: vendor_id, type: int}\n  - {name: fare, type: decimal}\n"
    )
    assert catalog.enrichment("rekeyed").key == "vendor_id"
    path.write_text(ENRICHMENT.replace("vendor_id", "fare").replace("trips.rekeyed", "trips") + "retries: 0\n")
    assert told() == [
        "3 to: trips is where the events come from",
        "4 key: fare is decimal; a key is one of date, int, text, uuid",
        "5 retries: is 0, expected a whole number (int >= 1)",
    ]


DATASET = """\
name: fares
table: fares
source: fares.csv
key: [id]
columns:
  - {name: id, type: int}
  - {name: vendor_id, type: text}
  - {name: fare, type: decimal, precision: 20, scale: 4}
publish: {event: trip}
"""
TRIP = """\
name: trip
topic: trips
columns:
  - {name: id, type: int, nullable: false}
  - {name: vendor_id, type: int}
  - {name: fare, type: decimal, precision: 10, scale: 2}
  - {name: begun_at, type: timestamp, nullable: false}
  - {name: note}
"""


def test_a_dataset_is_checked_against_the_event_that_it_publishes(tmp_path: Path) -> None:
    (tmp_path / "datasets").mkdir()
    (tmp_path / "events").mkdir()
    path, catalog = tmp_path / "datasets" / "fares.yaml", YamlCatalog(tmp_path)

    def told() -> list[str]:
        with pytest.raises(Faults) as caught:
            catalog.dataset("fares")
        return [fault.removeprefix("datasets/fares.yaml:") for fault in caught.value.faults]

    path.write_text(DATASET)
    missing = f"there is no event 'trip' in the catalog; there is no events/*.yaml in {tmp_path}"
    assert told() == [f"9 publish.event: {missing}"]
    (tmp_path / "events" / "trip.yaml").write_text(TRIP)
    assert told() == [
        "9 publish.event: fare has (20,4) digits here, trip takes (10,2)",
        "9 publish.event: trip needs begun_at, which the dataset does not have",
        "9 publish.event: vendor_id is text here, and int in trip",
    ]
    fitting = DATASET.replace("vendor_id, type: text", "vendor_id, type: int").replace("20, scale: 4", "9, scale: 2")
    path.write_text(fitting.replace("publish", "  - {name: begun_at, type: timestamp}\npublish"))
    assert told() == ["10 publish.event: begun_at may be null here, and must not be in trip"]
    sound = fitting.replace("publish", "  - {name: begun_at, type: timestamp, nullable: false}\npublish")
    path.write_text(sound)
    assert catalog.dataset("fares").publish is not None
    path.write_text(sound + "mode: replace\n")
    assert told() == [
        "10 publish: is for mode upsert and append: replace swaps rows, and would publish all of them again"
    ]
    path.write_text(
        sound.replace("key: [id]", "mode: append").replace(
            "{name: id, type: int}", "{name: id, type: int, nullable: false}"
        )
    )
    assert told() == [
        "10 publish: needs the dataset to have a key: it tells which row is new, and which event is which"
    ]
    path.write_text(sound.replace("\npublish: {event: trip}", ""))
    assert catalog.dataset("fares").publish is None


def test_an_aggregation_is_checked_against_its_event(tmp_path: Path) -> None:
    for folder in ("events", "aggregations"):
        (tmp_path / folder).mkdir()
    for place in ("events/trip.yaml", "aggregations/trips_by_zone.yaml"):
        (tmp_path / place).write_text((CATALOG / place).read_text())
    path, catalog = tmp_path / "aggregations" / "trips_by_zone.yaml", YamlCatalog(tmp_path)
    assert catalog.aggregation("trips_by_zone").measures[1].of == "total_amount"
    sound = path.read_text()
    path.write_text(sound.replace("of: total_amount", "of: totl_amount").replace("disorder_s: 30", "disorder_s: -1"))
    with pytest.raises(Faults) as caught:
        catalog.aggregation("trips_by_zone")
    assert [fault.partition(": ")[0].partition(" ")[2] for fault in caught.value.faults] == [
        "measures[1].of", "disorder_s",
    ]  # fmt: skip
    path.write_text(sound.replace("kind: tumbling", "kind: tumblng"))
    with pytest.raises(Faults, match=r"window\.kind: is 'tumblng'; allowed is one of .*did you mean tumbling\?"):
        catalog.aggregation("trips_by_zone")
