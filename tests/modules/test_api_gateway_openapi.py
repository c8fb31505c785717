"""The OpenAPI document is one, and whatever it allows, and more, is answered as it says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from adapters.database.postgres import PostgresDb
from contracts.resource import Resource
from tests.kit.databases import Databases, opened
from tests.modules.gateway_kit import ORDERS, SHOP, Api, serving

pytestmark = [pytest.mark.anyio, pytest.mark.integration, pytest.mark.timeout(180)]

READINGS = Resource(
    name="readings",
    source="readings",
    columns=("sensor", "at", "day", "local", "value", "small", "id", "place", "tags"),
    key=("sensor", "at"),
    filters=("sensor", "at", "day", "local", "value", "small", "id"),
    sort=("at", "day", "value", "small", "id"),
)
TABLE = """
create table readings (sensor text, at timestamptz, day date, local timestamp, value double precision, small real,
    id uuid, place inet, tags text[], primary key (sensor, at));
insert into readings values
    ('a', '2026-01-15 08:00+00', '2026-01-15', '2026-01-15 09:00', 'NaN', 0.1, gen_random_uuid(), '::1', '{a,b}'),
    ('a,b/c', 'infinity', null, null, null, null, null, null, null);
"""


@pytest.fixture(scope="module")
async def api(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """One for all: nothing here changes anything."""
    async with databases.fresh() as url:
        async with opened(PostgresDb(url)) as db:
            await db.execute(SHOP + TABLE)
        async with serving(url, tmp_path_factory.mktemp("api"), ORDERS, READINGS) as api:
            yield api


async def document_of(api: Api) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.json.decode((await api.get("/docs/openapi.json")).content)
    return document


async def test_the_document_is_valid(api: Api) -> None:
    from openapi_spec_validator import OpenAPIV31SpecValidator

    document = await document_of(api)
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []
    assert {"/api/orders", "/api/orders/{order_id}", "/api/readings/{sensor},{at}"} <= document["paths"].keys()
    listed = document["paths"]["/api/orders"]["get"]
    assert listed["x-scope"] == "read:orders"
    types = {one["name"]: one["schema"] for one in listed["parameters"]}
    assert types["quantity.gte"]["type"] == "integer"
    assert types["ordered_at"]["items"]["format"] == "date-time"
    assert types["note.null"] == {"type": "boolean"}
    assert "data.gte" not in types


async def test_a_key_of_several_columns_can_hold_anything(api: Api) -> None:
    row = await api.json("/api/readings/a,2026-01-15T08:00:00Z?fields=value,small,place,tags")
    assert row == {"value": "NaN", "small": 0.1, "place": "::1", "tags": ["a", "b"]}
    assert (await api.json("/api/readings/a%2Cb%2Fc,infinity"))["sensor"] == "a,b/c"


async def test_whatever_is_asked_is_answered_as_the_document_says(api: Api, unwatched: None) -> None:
    document = await document_of(api)
    asked = await asyncio.to_thread(_ask_everything, document, str(api.client.base_url))
    assert asked > 30
    assert not [*api.log_lines("a request broke"), *api.log_lines("can't be read")]


def _ask_everything(document: dict[str, Any], url: str) -> int:
    """How many requests were made."""
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks as told

    checks = [not_a_server_error, told.content_type_conformance, told.response_schema_conformance]
    schema = schemathesis.openapi.from_dict(document).include(path_regex="^/api/")
    asked = 0
    for result in schema.get_all_operations():
        operation: Any = result.ok()  # type: ignore[union-attr]  # it raises where it is none
        for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):

            @settings(
                max_examples=5,
                deadline=None,
                database=None,
                derandomize=True,
                phases=[Phase.explicit, Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case: Any) -> None:
                nonlocal asked
                asked += 1
                case.call_and_validate(base_url=url, checks=checks)

            ask()
    return asked
