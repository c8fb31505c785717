"""The storm in its short form; `./task chaos` is the long one."""

from __future__ import annotations

import os
from collections.abc import Iterator

import msgspec
import pytest

from tests.chaos.storm import Plan, persistent_redis, run
from tests.kit import services

pytestmark = [pytest.mark.anyio, pytest.mark.chaos, pytest.mark.timeout(240)]


@pytest.fixture(params=["kafka", "redis-stream"])
def bus(request: pytest.FixtureRequest) -> Iterator[tuple[str, services.Running]]:
    """A server of the test's own, since it is restarted."""
    with services.own(services.start_kafka if request.param == "kafka" else persistent_redis) as running:
        yield request.param, running


async def test_every_effect_is_there_once_and_in_order(bus: tuple[str, services.Running], database_url: str) -> None:
    mq, server = bus
    seed = int(os.environ.get("MILLRACE_CHAOS_SEED") or int.from_bytes(os.urandom(4)))
    summary = await run(Plan(mq=mq, messages=600, jobs=12, blows=8, seed=seed), database=database_url, bus=server)
    print(msgspec.json.encode(summary).decode())
    assert summary.faults == []
    assert summary.effects == {"taken": 600, "seen": 600, "counted": 36}
