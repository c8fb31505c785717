"""The suite's world on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from adapters.database.postgres import PostgresDb
from adapters.ledger.postgres import PostgresLedger
from tests.conformance.ledger_world import World

INSTANTS = {
    "jobs": ("rank", "recorded_at", "not_before", "started_at", "finished_at", "cancel_requested_at"),
    "workers": ("started_at", "lease_until"),
    "dead_letters": ("buried_at",),
    "partitions": ("taken_at", "reported_at"),
    "seen": ("until",),
    "parked": ("due_at", "parked_at"),
}


@asynccontextmanager
async def postgres_world(db: PostgresDb) -> AsyncIterator[World]:
    ledger, twin = PostgresLedger(db), PostgresLedger(db)

    async def age(seconds: float) -> None:
        """The database's clock can't be advanced: what is written down moves back instead."""
        for table, columns in INSTANTS.items():
            moved = ", ".join(f"{column} = {column} - $1::interval" for column in columns)
            await db.execute(f"update millrace.{table} set {moved}", timedelta(seconds=seconds))  # noqa: S608

    await ledger.open()
    await twin.open()
    try:
        yield World(ledger=ledger, twin=twin, age=age)
    finally:
        await ledger.close()
        await twin.close()
