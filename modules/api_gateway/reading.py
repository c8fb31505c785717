"""Asking the database: read only, for so long and no longer, and always in the same notation."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator

from contracts.errors import Permanent, Transient, Unavailable
from contracts.http import Refused
from contracts.ports import Db, Log
from contracts.ports.database import Tx
from contracts.resource import Resource
from modules.api_gateway.rendering import Values
from modules.api_gateway.statement import Statement

BATCH_ROWS = 1000
"""So many rows of a long answer are in memory at once."""

_NOTATION = {"timezone": "UTC", "datestyle": "ISO, YMD", "intervalstyle": "iso_8601"}
_numbers = itertools.count(1)


class Reader:
    """Of one resource."""

    def __init__(self, resource: Resource) -> None:
        self._resource = resource
        self._settings = {"statement_timeout": f"{round(resource.timeout_s * 1000)}ms", **_NOTATION}

    async def page(self, statement: Statement, rows: int, *, db: Db, log: Log) -> list[Values]:
        """So many rows at most."""
        asked, args = statement.limited(rows)
        try:
            async with db.reading(settings=self._settings) as tx:
                return [tuple(row.values()) for row in await tx.fetch(asked, *args)]
        except (Permanent, Transient) as error:
            raise self._refused(error, log) from error

    async def all(self, statement: Statement, *, db: Db, log: Log) -> AsyncGenerator[list[Values], None]:
        """All rows of one moment, in batches. Raises `Refused` (400), before the first one, when there are more than a
        resource gives at once: half an answer could be taken for a whole one."""
        try:
            async with db.reading(settings=self._settings) as tx:
                # Each has a name of its own: the driver remembers what the columns of a statement were.
                name = f"rows_{next(_numbers)}"
                await tx.execute(f"declare {name} no scroll cursor for {statement.whole}", *statement.args)
                batch = await self._next(tx, name)
                if len(batch) == BATCH_ROWS:
                    await self._check_size(tx, statement)
                while batch:
                    yield batch
                    batch = await self._next(tx, name) if len(batch) == BATCH_ROWS else []
        except (Permanent, Transient) as error:
            raise self._refused(error, log) from error

    async def _next(self, tx: Tx, name: str) -> list[Values]:
        return [tuple(row.values()) for row in await tx.fetch(f"fetch {BATCH_ROWS} from {name}")]

    async def _check_size(self, tx: Tx, statement: Statement) -> None:
        most = self._resource.most_rows
        asked, args = statement.more_than(most)
        if await tx.fetch_value(asked, *args):
            raise Refused(
                400,
                f"more than {most:,} rows match, which is all that one answer may have",
                ["filter more, or take it by pages: give a limit, and go on with the cursor in the header Link"],
            )

    def _refused(self, error: Permanent | Transient, log: Log) -> Unavailable:
        """The request was checked: it is the declaration, or the source, that is wrong or slow. Whoever asks is not
        told the statement."""
        if isinstance(error, Unavailable):
            return error
        log.warn("a resource can't be read", resource=self._resource.name, why=str(error))
        why = f"its source can't be read as declared, or not within {self._resource.timeout_s:g} s; the log has more"
        return Unavailable(f"resource {self._resource.name}", why)
