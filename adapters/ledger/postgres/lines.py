"""Connections of a sender's own, held for as long as it waits for the bus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from adapters.database.connection import Connection
from adapters.database.postgres import PostgresDb

# Always from the head of an index, whatever the statistics of a queue say; and what was read before a lock was got must
# not be what is seen under it. Only what was sent is forgotten by these commits: when the server crashes before it has
# written one down, the messages are sent again under the same ids, which is not worth a flush for each.
SET_UP = """
set plan_cache_mode = force_generic_plan;
set enable_seqscan = off;
set enable_bitmapscan = off;
set enable_sort = off;
set jit = off;
set lock_timeout = '5s';
set default_transaction_isolation = 'read committed';
set synchronous_commit = off;
"""


class Line:
    """One connection, made when first needed and again when lost; not for two concurrent callers."""

    def __init__(self, db: PostgresDb, *, name: str) -> None:
        self._db = db
        self._name = name
        self._connection: Connection | None = None
        self._open = AsyncExitStack()
        self._told: Callable[[], None] | None = None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Raises `Unavailable` when there is no connection to be had."""
        if self._connection is None or self._connection.lost:
            await self._connect()
        assert self._connection is not None
        async with self._connection.transaction():
            yield self._connection

    @asynccontextmanager
    async def while_connected(self, timeout_s: float) -> AsyncIterator[asyncio.Timeout]:
        """Raises `TimeoutError` out of its block after `timeout_s`, or as soon as the connection is known to be gone,
        and with it the locks that its transaction held."""
        async with asyncio.timeout(timeout_s) as deadline:
            self._told = lambda: deadline.reschedule(0)
            try:
                if self._connection is None or self._connection.lost:
                    deadline.reschedule(0)
                yield deadline
            finally:
                self._told = None

    async def close(self) -> None:
        self._connection = None
        await self._open.aclose()

    async def _connect(self) -> None:
        await self.close()
        async with AsyncExitStack() as stack:
            connection = await stack.enter_async_context(self._db.connect(name=self._name))
            await connection.execute(SET_UP)
            connection.on_lost(self._lost)
            self._connection = connection
            self._open = stack.pop_all()

    def _lost(self) -> None:
        if self._told is not None:
            self._told()
