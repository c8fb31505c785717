"""Commands that read or change the ledger open it by themselves: no worker needs to run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from contracts.errors import NotFound

if TYPE_CHECKING:
    from runtime.settings import Settings
    from runtime.wiring import Adapters


@asynccontextmanager
async def opened(settings: Settings, *names: str) -> AsyncIterator[Adapters]:
    """The named adapters, open until the end of the block."""
    from runtime.wiring import Adapters

    adapters = Adapters(settings)
    try:
        if adapters.traces:
            await adapters.open("traces")
        for name in names:
            await adapters.open(name)
        yield adapters
    finally:
        await adapters.close()


@asynccontextmanager
async def the_ledger(settings: Settings) -> AsyncIterator[Adapters]:
    """The adapters with the ledger open. Raises `NotFound` when there is none: to look for jobs makes nothing."""
    from migrations import runner
    from runtime import migrating

    if why := there_is_none(settings):
        raise NotFound(f"there is no ledger: {why}")
    async with opened(settings, "db") as adapters:
        if not any(one.applied_at for one in await runner.status(adapters.db)):
            raise NotFound(f"there is no ledger on {adapters.db.address}: nothing has run on it yet")
        await migrating.fit(adapters.db, auto=settings.auto_migrate)
        await adapters.open("ledger")
        yield adapters


def there_is_none(settings: Settings) -> str:
    """Why this process can't have a ledger that others see, as far as that can be told without asking anybody."""
    if settings.db == "memory":
        return "--db memory keeps one for each process, gone at its end"
    if settings.db_postgres_url is None and not (home := settings.millrace_home / "postgres").is_dir():
        return f"nothing has run here yet ({home} does not exist)"
    return ""
