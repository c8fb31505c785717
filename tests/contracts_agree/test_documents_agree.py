"""OpenAPI and AsyncAPI show the committed schemas and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.bus.memory.bus import MemoryBus
from adapters.clock.manual import ManualClock
from contracts.module import Route
from runtime import registry
from runtime.http import openapi
from runtime.schema import schema_of
from tests.conformance.bus_scene import Recorder
from tests.contracts_agree import schemas

ROUTES = pytest.mark.parametrize("route", schemas.routes(), ids=lambda route: route.address)


def committed(route: Route) -> dict[str, Any]:
    schema = schemas.committed_for(f"{route.address}.json")
    del schema["$schema"]  # said once for a whole document
    return schema


@ROUTES
def test_openapi_shows_the_message(route: Route) -> None:
    from runtime.http.application import HANDLERS

    (module,) = [module for module in registry.load() if route in module.routes]
    document = openapi.document(HANDLERS, [(module, route)], version="1")
    body = document["paths"][f"/commands/{route.address}"]["post"]["requestBody"]
    assert body["content"]["application/json"]["schema"] == committed(route)


@ROUTES
def test_asyncapi_shows_the_message(route: Route) -> None:
    from faststream.specification.asyncapi import AsyncAPI

    bus = MemoryBus(ManualClock())
    bus.mount(Recorder(route, lambda: None), schema=schema_of(route.contract))
    document = AsyncAPI(bus.broker).to_specification().to_jsonable()
    [channel] = document["channels"].values()
    assert channel["address"] == route.address
    assert document["components"]["schemas"][route.contract.__name__] == committed(route)
