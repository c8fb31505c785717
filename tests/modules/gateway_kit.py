"""A worker with the read API on a free port, over the tables of a test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec

from contracts.module import Module
from contracts.ports import Catalog
from contracts.resource import Resource
from modules.api_gateway.module import module as api_gateway
from runtime.http.server import HttpServer
from runtime.policy.drain import Phase
from runtime.worker import Worker
from tests.integration.http_site import Heard, chosen
from tests.kit.catalog import DeclaredCatalog
from tests.kit.waiting import until

SHOP = """
create schema shop;
create table shop.orders (
    order_id bigint primary key, sku text not null, quantity int, price numeric(10, 2), ordered_at timestamptz,
    note text, data jsonb, done boolean not null default false, secret text default 'not for everybody'
);
insert into shop.orders values
    (1, 'A-001', 2, 9.50, '2026-01-13 08:00:00+00', 'fragile', '{"a": [1]}', false),
    (2, 'A-002', 1, 20.00, '2026-01-13 09:30:00+01', null, null, false),
    (3, 'A-001', null, 9.50, null, '', null, true),
    (4, 'B-100', 7, 1.05, '2026-01-15 00:00:00+00', 'say "hi", twice', '[]', false),
    (5, 'B-100', 7, 1.05, '2026-01-14 00:00:00+00', E'two\\nlines', 'null', false);
"""
COLUMNS = ("order_id", "sku", "quantity", "price", "ordered_at", "note", "data", "done")
ORDERS = Resource(
    name="orders",
    source="shop.orders",
    columns=COLUMNS,
    key=("order_id",),
    filters=tuple(name for name in COLUMNS if name != "data"),
    sort=("quantity", "price", "ordered_at", "sku", "note", "done"),
    page_rows=2,
    most_page_rows=4,
    most_rows=2000,
)


class Api:
    """A running worker and a client of its HTTP."""

    def __init__(self, worker: Worker, client: httpx.AsyncClient) -> None:
        self.worker = worker
        self.client = client

    def log_lines(self, word: str) -> list[str]:
        """Those that `word` is in."""
        assert isinstance(self.worker.adapters, Heard)
        return [line for line in self.worker.adapters.written.getvalue().splitlines() if word in line]

    async def get(self, path: str, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.get(path, headers=named)

    async def json(self, path: str, status: int = 200, **headers: str) -> Any:
        response = await self.get(path, **headers)
        assert response.status_code == status, (path, response.status_code, response.text)
        return msgspec.json.decode(response.content)

    async def done(self, address: str, command: dict[str, Any]) -> None:
        """The job is posted, and has ended well."""
        posted = await self.client.post(f"/commands/{address}", json=command)
        assert posted.status_code == 202, posted.text
        job_id = posted.json()["job_id"]

        async def has_ended() -> bool:
            state = (await self.get(f"/jobs/{job_id}")).json().get("state")
            assert state not in ("failed", "cancelled")
            return bool(state == "done")

        await until(has_ended, what="the end of the job")

    async def ids(self, query: str) -> list[int]:
        """Of all pages."""
        found: list[int] = []
        path = f"/api/orders?fields=order_id&{query}"
        page = await self.json(path)
        while True:
            found += [row["order_id"] for row in page["data"]]
            if page["next"] is None:
                return found
            page = await self.json(f"{path}&cursor={page['next']}")


@asynccontextmanager
async def serving(
    url: str,
    directory: Path,
    *declared: msgspec.Struct,
    more: tuple[Module, ...] = (),
    catalog: Catalog | None = None,
    **chosen_: str,
) -> AsyncIterator[Api]:
    """The gateway over what is declared, or is in the catalog, and other modules in the same worker."""
    settings = chosen(url, directory, **chosen_)
    adapters = Heard(settings)
    adapters.__dict__["catalog"] = catalog or DeclaredCatalog(*declared)
    worker = Worker(settings, [api_gateway, *more], adapters=adapters)
    worker.http = HttpServer(worker)
    await worker.start()
    try:
        async with httpx.AsyncClient(base_url=worker.http.address, timeout=10, trust_env=False) as client:
            yield Api(worker, client)
    finally:
        if worker.supervisor.phase < Phase.CLOSING:
            await worker.stop()
