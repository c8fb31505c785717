"""Commands that read or change the ledger open it by themselves: no worker needs to run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from contracts.errors import Faults
from runtime.settings import Settings
from runtime.wiring import Adapters


@asynccontextmanager
async def opened(settings: Settings, *names: str) -> AsyncIterator[Adapters]:
    """The named adapters, open until the end of the block."""
    adapters = Adapters(settings)
    try:
        for name in names:
            await adapters.open(name)
        yield adapters
    finally:
        await adapters.close()


@asynccontextmanager
async def the_ledger(settings: Settings) -> AsyncIterator[Adapters]:
    """The adapters with the ledger open; raises `Faults` when it has no tables yet."""
    from migrations import runner

    async with opened(settings, "db") as adapters:
        if any(not one.applied_at for one in await runner.status(adapters.db)):
            if not settings.auto_migrate:
                raise Faults("database", ["migrations are pending; run `millrace migrate up`"])
            await runner.up(adapters.db)
        await adapters.open("ledger")
        yield adapters
