from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator

import msgspec
import pytest

from adapters.database.postgres import PostgresDb
from modules.api_gateway import cursor
from tests.kit.databases import Databases, opened
from tests.modules.gateway_kit import ORDERS, SHOP, Api, serving

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

APP = "https://app.example"


@pytest.fixture(scope="module")
async def api(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """One for all: nothing here changes anything."""
    async with databases.fresh() as url:
        async with opened(PostgresDb(url)) as db:
            await db.execute(SHOP)
        async with serving(url, tmp_path_factory.mktemp("api"), ORDERS, HTTP_CORS_ORIGINS=APP) as api:
            yield api


async def test_a_page_has_rows_as_json_and_the_way_to_the_next(api: Api) -> None:
    response = await api.get("/api/orders")
    page = msgspec.json.decode(response.content)
    assert page["data"][0] == {
        "order_id": 1,
        "sku": "A-001",
        "quantity": 2,
        "price": 9.5,
        "ordered_at": "2026-01-13T08:00:00+00:00",
        "note": "fragile",
        "data": {"a": [1]},
        "done": False,
    }
    assert [row["order_id"] for row in page["data"]] == [1, 2]
    assert response.headers["link"] == f'</api/orders?cursor={page["next"]}>; rel="next"'
    after = await api.json(response.links["next"]["url"])
    assert [row["order_id"] for row in after["data"]] == [3, 4]
    last = await api.get(f"/api/orders?cursor={after['next']}")
    assert "link" not in last.headers
    assert msgspec.json.decode(last.content)["next"] is None


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("", [1, 2, 3, 4, 5]),
        ("order_id=3", [3]),
        ("sku=A-001&sku=A-002", [1, 2, 3]),
        ("sku.ne=A-001", [2, 4, 5]),
        ("sku.prefix=A-", [1, 2, 3]),
        ("price.gte=9.50&price.lt=20", [1, 3]),
        ("price.gt=9.499", [1, 2, 3]),
        ("quantity.null=true", [3]),
        ("quantity.null=false&quantity.lte=2", [1, 2]),
        ("done=true", [3]),
        ("note=", [3]),
        ("note.null=true", [2]),
        ("ordered_at.lt=2026-01-13T08:30:01Z", [1, 2]),
        ("ordered_at=2026-01-13T09:00:00%2B01:00", [1]),
        ("order_id=9223372036854775807", []),
        ("note=%27%3B+drop+table+shop.orders%3B--", []),
    ],
)
async def test_rows_are_filtered(api: Api, query: str, ids: list[int]) -> None:
    assert await api.ids(query) == ids


@pytest.mark.parametrize(
    ("sort", "ids"),
    [
        ("-order_id", [5, 4, 3, 2, 1]),
        ("quantity", [2, 1, 4, 5, 3]),
        ("-quantity", [3, 5, 4, 1, 2]),
        ("sku,-price", [3, 1, 2, 5, 4]),
        ("-ordered_at", [3, 4, 5, 2, 1]),
        ("done,quantity,-order_id", [2, 1, 5, 4, 3]),
        ("note", [3, 1, 4, 5, 2]),
    ],
)
async def test_rows_are_sorted_and_walked_by_pages_each_once(api: Api, sort: str, ids: list[int]) -> None:
    assert await api.ids(f"sort={sort}") == ids
    assert await api.ids(f"sort={sort}&limit=1") == ids


async def test_a_row_is_found_by_its_key(api: Api) -> None:
    assert (await api.json("/api/orders/4?fields=note,sku")) == {"note": 'say "hi", twice', "sku": "B-100"}
    missing = await api.get("/api/orders/77")
    assert (missing.status_code, missing.headers["content-type"]) == (404, "application/problem+json")
    assert (await api.json("/api/orders/77", 404))["detail"] == "there is no '77' in orders"


async def test_every_fault_of_a_query_is_told_at_once(api: Api) -> None:
    problem = await api.json(
        "/api/orders?quantity=many&quantity.like=1&sort=skew&fields=secret&limit=5&cursor=x&prise=3&price.gt=1&price.gt=2"
        "&done=yes&ordered_at.gt=2026-01-13T08:00:00",
        400,
    )
    assert (problem["title"], problem["status"]) == ("Bad Request", 400)
    assert [fault.partition(":")[0] for fault in problem["faults"]] == [
        *("fields", "quantity", "quantity.like", "price.gt", "done", "ordered_at.gt", "sort", "limit", "cursor"),
        "'prise'",
    ]
    assert "did you mean price?" in problem["faults"][-1]
    assert "1 to 4" in problem["faults"][-3]
    key = await api.json("/api/orders/one?limit=5", 400)
    assert len(key["faults"]) == 2


@pytest.mark.parametrize(
    ("sort", "place", "status"),
    [
        ("price", ("9.50", "1"), 200),
        ("price", (None, None), 200),
        ("price", ("1e5", "1"), 400),
        ("price", ("9.50", "9223372036854775808"), 400),
        ("price", ("9.50", "1; drop table shop.orders"), 400),
        ("ordered_at", ("yesterday", "1"), 400),
        ("ordered_at", ("2026-01-13T08:00:00", "1"), 400),
        ("done", ("1", "1"), 400),
        ("sku", ("a\0b", "1"), 400),
        ("sku", ("' or true --", "1"), 200),
    ],
)
async def test_a_place_that_somebody_made_up_is_checked_by_its_types(
    api: Api, sort: str, place: tuple[str | None, ...], status: int
) -> None:
    word = cursor.written([sort, "order_id"], place)
    answer = await api.json(f"/api/orders?sort={sort}&sku=A-001&limit=4&cursor={word}", status)
    if status == 400:
        assert [fault.partition(":")[0] for fault in answer["faults"]] == ["cursor"]
    else:
        assert {row["sku"] for row in answer["data"]} <= {"A-001"}, "the filters hold all the same"


async def test_pages_of_sites_that_are_named_may_read(api: Api) -> None:
    """A browser asks first, and sends no key with that."""
    before = {"Origin": APP, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "x-api-key"}
    allowed = await api.client.options("/api/orders/1", headers=before)
    assert (allowed.status_code, allowed.content) == (204, b"")
    assert allowed.headers["access-control-allow-origin"] == APP
    assert "x-api-key" in allowed.headers["access-control-allow-headers"]
    for path, status in (("/api/orders/1", 200), ("/api/orders?limit=x", 400), ("/api/orders/77", 404)):
        answer = await api.get(path, Origin=APP)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, APP)
        assert "Origin" in answer.headers.get_list("vary", split_commas=True)
    for path, origin, method in (
        ("/api/orders/1", "https://evil.example", "GET"),
        ("/api/orders/1", APP, "POST"),
        ("/jobs", APP, "GET"),
        ("/commands/run.echo", APP, "POST"),
    ):
        before = {"Origin": origin, "Access-Control-Request-Method": method}
        refused = await api.client.options(path, headers=before)
        assert not [
            name for name in refused.headers if name.startswith("access-control-allow-") and name[21:] != "origin"
        ]
        asked = await api.get("/jobs" if path == "/jobs" else "/api/orders/1", Origin=origin)
        assert ("access-control-allow-origin" in asked.headers) == (origin == APP and path != "/jobs"), path


async def test_csv_and_ndjson_have_all_rows(api: Api) -> None:
    as_csv = await api.get("/api/orders", Accept="text/csv")
    assert as_csv.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    rows = list(csv.DictReader(io.StringIO(as_csv.text, newline="")))
    assert [row["order_id"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert [row["note"] for row in rows] == ["fragile", "", "", 'say "hi", twice', "two\nlines"]
    assert ',2026-01-13T08:00:00+00:00,fragile,"{""a"": [1]}",false\r\n' in as_csv.text
    assert ',"",,true\r\n' in as_csv.text
    assert ",,,false\r\n" in as_csv.text
    ndjson = await api.get("/api/orders?sort=-order_id", Accept="application/x-ndjson")
    assert [msgspec.json.decode(line)["order_id"] for line in ndjson.text.splitlines()] == [5, 4, 3, 2, 1]
    page = await api.get("/api/orders?limit=2&fields=sku", Accept="text/csv")
    assert page.text == "sku\r\nA-001\r\nA-002\r\n"
    assert (await api.get(page.links["next"]["url"], Accept="text/csv")).text == "sku\r\nA-001\r\nB-100\r\n"
    nothing = await api.get("/api/orders?order_id=0&fields=sku", Accept="text/csv")
    assert nothing.text == "sku\r\n"


async def test_what_is_not_to_be_had_is_told(api: Api) -> None:
    refused = await api.json("/api/orders", 406, Accept="image/png")
    assert refused["faults"] == [
        "application/json, text/csv, application/x-ndjson, application/ndjson, application/jsonl"
    ]


async def test_what_has_not_changed_is_not_sent_again(api: Api) -> None:
    first = await api.get("/api/orders")
    tag = first.headers["etag"]
    again = await api.get("/api/orders", If_None_Match=f'"other", W/{tag}')
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert first.headers["cache-control"] == "private, no-cache"
    assert (await api.get("/api/orders?limit=1", If_None_Match=tag)).status_code == 200
    assert (await api.get("/api/orders", If_None_Match=tag, Accept="application/x-ndjson")).status_code == 200
