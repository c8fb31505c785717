from __future__ import annotations

import html.parser
from collections.abc import AsyncIterator

import jsonschema
import msgspec
import pytest

from runtime.schema import schema_of
from tests.integration.http_site import RunEcho, RunHeld, Seen, Site, as_json, running
from tests.kit.databases import Databases

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

CONTRACTS: dict[str, type[msgspec.Struct]] = {"run.echo": RunEcho, "run.held": RunHeld, "seen.raw": Seen}


@pytest.fixture(scope="module")
async def site(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """One for all: nothing here changes anything."""
    async with databases.fresh() as url, running(url, tmp_path_factory.mktemp("site")) as site:
        yield site


class Links(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "action", "srcset", "style")]


@pytest.mark.parametrize("path", ["/", "/docs", "/docs/asyncapi"])
async def test_pages_need_nothing_from_elsewhere(site: Site, path: str) -> None:
    response = await site.get(path, headers={"Accept": "text/html"})
    assert response.headers["content-type"].startswith("text/html")
    page = Links()
    page.feed(response.text)
    assert not {"script", "link", "img", "iframe", "form"} & page.tags
    for link in page.links:
        assert link.startswith("/")
        assert not link.startswith("//")
        assert (await site.get(link)).status_code == 200, link
    policy = response.headers["content-security-policy"]
    assert "http" not in policy
    assert "unsafe" not in policy


async def test_the_index_speaks_json_to_programs(site: Site) -> None:
    for path in as_json(await site.get("/"))["links"]:
        assert (await site.get(path)).status_code == 200, path


async def test_the_api_is_described_with_a_path_for_each_address(site: Site) -> None:
    document = as_json(await site.get("/docs/openapi.json"))
    assert document["openapi"].startswith("3.1")
    assert "/commands/{address}" not in document["paths"]
    for address, contract in CONTRACTS.items():
        operation = document["paths"][f"/commands/{address}"]["post"]
        assert operation["requestBody"]["content"]["application/json"]["schema"] == schema_of(contract)
        names = {parameter["name"] for parameter in operation["parameters"]}
        assert {"Idempotency-Key", "delay_s", "not_before", "key"} <= names
        assert ("priority" in names) == address.startswith("run.")
        assert "address" not in names
    for path in (
        "/jobs",
        "/jobs/{job_id}",
        "/jobs/{job_id}/cancel",
        "/jobs/{job_id}/retry",
        "/health/ready",
        "/metrics",
    ):
        assert path in document["paths"]
    identifiers = [one["operationId"] for item in document["paths"].values() for one in item.values()]
    assert len(identifiers) == len(set(identifiers))


async def test_every_reference_of_the_api_leads_somewhere(site: Site) -> None:
    document = as_json(await site.get("/docs/openapi.json"))
    for reference in references(document):
        found = document
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]


async def test_what_the_bus_carries_is_described_with_its_payload(site: Site) -> None:
    document = as_json(await site.get("/docs/asyncapi.json"))
    assert document["asyncapi"].startswith("3.")
    channels = {channel["address"]: channel for channel in document["channels"].values()}
    assert set(channels) >= set(CONTRACTS)
    schemas = document["components"]["schemas"]
    for address, contract in CONTRACTS.items():
        schema = next(one for one in schemas.values() if one.get("title") == contract.__name__)
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["properties"].keys() == schema_of(contract)["properties"].keys(), address


def references(node: object) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [one for value in node.values() for one in references(value)]
    return [one for item in node for one in references(item)] if isinstance(node, list) else []
