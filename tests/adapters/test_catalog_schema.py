from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from adapters.catalog.declaration import declaration_of
from adapters.catalog.kinds import DATASET, KINDS, Kind
from adapters.catalog.schema import as_text, catalog_schema, write_schemas
from adapters.catalog.yaml_tree import parse
from contracts.errors import Faults
from tests.adapters.test_catalog import TRIPS

CATALOG = Path(__file__).parents[2] / "catalog"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_committed_schema_is_the_contracts(kind: Kind[Any]) -> None:
    path = CATALOG / "schemas" / f"{kind.name}.schema.json"
    assert path.read_text(encoding="utf-8") == as_text(kind), "renew it: python -m adapters.catalog.schema catalog"


def test_schemas_are_written(tmp_path: Path) -> None:
    assert [path.name for path in write_schemas(tmp_path)] == [f"{kind.name}.schema.json" for kind in KINDS]


def _valid_by_schema(text: str) -> bool:
    return bool(Draft202012Validator(catalog_schema(DATASET)).is_valid(_plain(text)))


def _plain(text: str) -> Any:
    root, _ = parse(text)
    return root.plain()


def test_the_schema_is_one_and_takes_what_is_right() -> None:
    Draft202012Validator.check_schema(catalog_schema(DATASET))
    assert _valid_by_schema(TRIPS)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("name: trips", "nome: trips"),
        ("name: trips", "name: Trips"),
        ("table: public.trips", "table: a.b.c"),
        ('{type: csv, delimiter: ";"}', "{type: xls}"),
        ('{type: csv, delimiter: ";"}', "{type: csv, delimiter: ab}"),
        ("key: [id]", "key: id"),
        ("type: int", "type: integer"),
        ("nullable: false", "nullable: no"),
        ("min: 0", "min: [0]"),
        ("timezone: Europe/Berlin", "zone: Europe/Berlin"),
    ],
)
def test_what_the_schema_refuses_is_refused(right: str, wrong: str) -> None:
    text = TRIPS.replace(right, wrong, 1)
    assert text != TRIPS
    assert not _valid_by_schema(text)
    with pytest.raises(Faults):
        declaration_of(DATASET, text.encode(), file="f")
