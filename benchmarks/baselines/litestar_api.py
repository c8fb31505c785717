"""A route by hand, with Litestar and asyncpg: `python -m benchmarks.baselines.litestar_api URL SECONDS`.

One statement by key on a pool of 10, a Struct as the answer; no keys, no log line, no cache, no ETag, no bounds.
"""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import datetime
from decimal import Decimal
from typing import Any

import asyncpg
import msgspec
import uvicorn
from litestar import Litestar, get
from litestar.datastructures import State
from litestar.params import FromPath

from benchmarks.asked import measured


class Thing(msgspec.Struct):
    """One row."""

    id: int
    name: str
    price: Decimal
    at: datetime
    note: str | None


@get("/things/{thing_id:int}")
async def thing(state: State, thing_id: FromPath[int]) -> Thing:
    """By its key."""
    row = await state.pool.fetchrow("select id, name, price, at, note from things where id = $1", thing_id)
    return Thing(**row)


async def main(url: str, seconds: float) -> None:
    """Requests a second."""
    async with asyncpg.create_pool(url, min_size=10, max_size=10) as pool:
        app: Any = Litestar([thing], state=State({"pool": pool}), openapi_config=None)
        server = uvicorn.Server(uvicorn.Config(app, port=0, http="httptools", access_log=False, log_level="warning"))
        serving = asyncio.get_running_loop().create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.05)  # noqa: TID251 - it tells nobody when it has
        port = server.servers[0].sockets[0].getsockname()[1]
        figures = await measured(port, "/things/{}", seconds)
        server.should_exit = True
        await serving
    print(json.dumps(figures))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
