"""The database's schema, before anything is done with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contracts.errors import Faults
from contracts.ports import Db, Log

if TYPE_CHECKING:
    from migrations.runner import Migration


def newest_known() -> int:
    """The number of the newest migration of this checkout."""
    from migrations import runner

    return runner.newest()


async def fit(db: Db, *, auto: bool, log: Log | None = None) -> list[Migration]:
    """Returns what the database has when this version can work on it: by itself, or, with `auto`, because all that may
    be was applied. Raises `Faults` that say what to do. One round trip where nothing is pending."""
    from migrations import runner

    found = await runner.status(db)
    if auto and any(one.state == "pending" for one in found):
        for applied in await runner.up(db, log=log):
            if log is not None:
                log.info("migrated", migration=applied.name)
        found = await runner.status(db)
    if faults := runner.unfit(found):
        raise Faults("database", faults)
    if log is not None and (unknown := [one.name for one in found if one.state == "unknown"]):
        log.warn("the database was migrated by a newer version", unknown=unknown)
    return found
