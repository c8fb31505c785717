"""A ledger for tests that are not in an event loop, as those of command lines are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from adapters.database.postgres import PostgresDb
from adapters.ledger.postgres.ledger import PostgresLedger
from tests.kit.databases import LIMITS, opened

T = TypeVar("T")


def on_ledger(url: str, work: Callable[[PostgresLedger, PostgresDb], Awaitable[T]]) -> T:
    """What `work` returns, with the ledger of this database open while it runs."""

    async def whole() -> T:
        async with opened(PostgresDb(url, limits=LIMITS)) as db:
            ledger = PostgresLedger(db)
            await ledger.open()
            try:
                return await work(ledger, db)
            finally:
                await ledger.close()

    return asyncio.run(whole())
