from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from adapters.database.postgres import PostgresDb
from tests.conformance.ledger_postgres_world import postgres_world
from tests.conformance.ledger_suite import PROMISES, name_of
from tests.conformance.ledger_world import Promise, World

pytestmark = [pytest.mark.anyio, pytest.mark.integration]


@pytest.fixture
async def world(db: PostgresDb) -> AsyncIterator[World]:
    async with postgres_world(db) as made:
        yield made


@pytest.mark.parametrize("promise", PROMISES, ids=name_of)
async def test_promise(promise: Promise, world: World) -> None:
    await promise(world)
