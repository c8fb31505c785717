from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from adapters.database.postgres import PostgresDb
from adapters.ledger.postgres import PostgresLedger
from tests.conformance.ledger_suite import PROMISES, name_of
from tests.conformance.ledger_world import Promise, World

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

INSTANTS = {
    "jobs": ("rank", "recorded_at", "not_before", "started_at", "finished_at", "cancel_requested_at"),
    "workers": ("started_at", "lease_until"),
    "dead_letters": ("buried_at",),
}


@pytest.fixture
async def world(db: PostgresDb) -> AsyncIterator[World]:
    ledger, twin = PostgresLedger(db), PostgresLedger(db)

    async def age(seconds: float) -> None:
        """The database's clock can't be advanced: what is written down moves back instead."""
        for table, columns in INSTANTS.items():
            moved = ", ".join(f"{column} = {column} - $1::interval" for column in columns)
            await db.execute(f"update millrace.{table} set {moved}", timedelta(seconds=seconds))  # noqa: S608

    await ledger.open()
    await twin.open()
    yield World(ledger=ledger, twin=twin, age=age)
    await ledger.close()
    await twin.close()


@pytest.mark.parametrize("promise", PROMISES, ids=name_of)
async def test_promise(promise: Promise, world: World) -> None:
    await promise(world)
