from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from adapters.database.postgres import PostgresDb
from tests.integration.http_site import as_json, running

pytestmark = [pytest.mark.anyio, pytest.mark.integration]


async def test_a_job_whose_claim_is_on_its_way_when_the_drain_begins_runs_to_its_end(
    database_url: str, db: PostgresDb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claimed, go_on = asyncio.Event(), asyncio.Event()
    async with running(database_url, tmp_path) as site:
        queue = site.worker.adapters.ledger.queue
        claim = queue.claim

        async def slow(*args: Any, **options: Any) -> Any:
            claims = await claim(*args, **options)
            if claims:
                claimed.set()
                await go_on.wait()
            return claims

        monkeypatch.setattr(queue, "claim", slow)
        # One with a unique key is never claimed by the statement that records it.
        job_id = as_json(await site.post("/commands/run.held", json={"name": "a"}))["job_id"]
        await claimed.wait()
        async with asyncio.TaskGroup() as group:
            stopping = group.create_task(site.worker.stop())
            await site.worker.supervisor.stopping.wait()
            site.hold.let_go.set()
            go_on.set()
            assert (await stopping).fates == {job_id: "finished"}
    assert await db.fetch_value("select state from millrace.jobs where id = $1", job_id) == "done"
