"""The committed schemas are what the code says, and they are schemas."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from contracts.message import Contract
from tests.contracts_agree import schemas

RENEW = "look at the difference; if it is meant, run `./task schemas` and commit what it wrote"


def test_every_message_has_its_schema_and_no_schema_is_left_over() -> None:
    assert schemas.committed().keys() == schemas.expected().keys(), RENEW


@pytest.mark.parametrize("path", schemas.expected())
def test_the_file_says_what_the_code_says(path: str) -> None:
    assert (schemas.DIRECTORY / path).read_text() == schemas.written(schemas.expected()[path]).decode(), RENEW


@pytest.mark.parametrize("path", schemas.expected())
def test_it_is_a_schema_of_the_dialect_that_it_names(path: str) -> None:
    schema = schemas.committed_for(path)
    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("route", schemas.routes(), ids=lambda route: route.address)
def test_a_message_is_closed_immutable_and_says_what_it_is(route: Any) -> None:
    """An unknown field would be dropped without a word; a description is what every form of help shows."""
    schema = schemas.committed_for(f"{route.address}.json")
    assert issubclass(route.contract, Contract)
    assert schema["additionalProperties"] is False
    assert schema["description"]


@pytest.mark.parametrize("address", schemas.results())
def test_a_job_says_what_it_returns(address: str) -> None:
    assert schemas.results()[address] is not None, "annotate what the handler returns; `-> None` is fine, too"
