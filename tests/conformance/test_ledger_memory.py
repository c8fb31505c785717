from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from adapters.clock.manual import ManualClock
from adapters.ledger.memory import MemoryLedger
from tests.conformance.ledger_suite import PROMISES, name_of
from tests.conformance.ledger_world import Promise, World

pytestmark = pytest.mark.anyio


@pytest.fixture
async def world(clock: ManualClock) -> AsyncIterator[World]:
    ledger = MemoryLedger(clock)
    await ledger.open()

    async def age(seconds: float) -> None:
        await clock.advance(seconds)

    yield World(ledger=ledger, twin=ledger, age=age)
    await ledger.close()


@pytest.mark.parametrize("promise", PROMISES, ids=name_of)
async def test_promise(promise: Promise, world: World) -> None:
    await promise(world)
