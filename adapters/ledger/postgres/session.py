"""The ledger's own few connections: claims and settlements never wait for a connection behind handlers' work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any, TypeVar

import asyncpg

from adapters.database.postgres import PostgresDb
from adapters.database.translation import DRIVER_ERRORS, is_lost, translated
from contracts.errors import MillraceError, Transient, Unavailable

T = TypeVar("T")

CONNECTIONS = 4
ACQUIRE_TIMEOUT_S = 15.0
STATEMENT_TIMEOUT_S = 30.0
CLOSE_TIMEOUT_S = 5.0
TRIES = 4
"""Of a statement that lost a deadlock, which rolled it back whole."""

# Every statement here goes from a few ids, or from the head of an index, into the tables: nested loops over indexes are
# right whatever the statistics say, and they go stale fast in a queue. Left alone, the planner reads the whole table
# when it believes it to be small. One plan a statement then does for good, so none is made again. A row is only ever
# locked for a moment, unless by a transaction of its job that hangs.
SET_UP = """
set plan_cache_mode = force_generic_plan;
set enable_seqscan = off;
set enable_bitmapscan = off;
set enable_hashjoin = off;
set enable_mergejoin = off;
set jit = off;
set lock_timeout = '5s';
"""
FOR_PEOPLE = """
set local plan_cache_mode = force_custom_plan;
set local enable_seqscan = on;
set local enable_bitmapscan = on;
"""


class Session:
    """Runs statements, each on any of a few connections that are made when first needed and again when lost."""

    def __init__(self, db: PostgresDb) -> None:
        self.db = db
        self._pool: asyncpg.Pool[Any] | None = None
        self._open: dict[Any, AsyncExitStack] = {}

    async def open(self) -> None:
        if self._pool is not None:
            return
        pool: asyncpg.Pool[Any] = asyncpg.create_pool(
            min_size=0, max_size=CONNECTIONS, connect=self._connect, reset=_nothing
        )
        await pool  # bookkeeping only, as there is no floor
        self._pool = pool

    async def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            with suppress(*DRIVER_ERRORS):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await pool.close()  # on a timeout it cuts by itself
        await self._forget(list(self._open))

    async def rows(self, sql: str, *args: Any, repeatable: bool = True) -> list[Any]:
        """The records of one statement. `repeatable` ones are tried once more when their connection is lost."""

        async def fetch(connection: Any) -> list[Any]:
            records: list[Any] = await connection.fetch(sql, *args, timeout=STATEMENT_TIMEOUT_S)
            return records

        return await self.run(fetch, repeatable=repeatable)

    async def row(self, sql: str, *args: Any, repeatable: bool = True) -> Any:
        """The first record, or None."""
        rows = await self.rows(sql, *args, repeatable=repeatable)
        return rows[0] if rows else None

    async def ask(self, sql: str, *args: Any) -> list[Any]:
        """A question of people's, with conditions that may be there or not: planned for the values that it has."""

        async def fetch(connection: Any) -> list[Any]:
            async with connection.transaction(readonly=True):
                await connection.execute(FOR_PEOPLE, timeout=STATEMENT_TIMEOUT_S)
                records: list[Any] = await connection.fetch(sql, *args, timeout=STATEMENT_TIMEOUT_S)
                return records

        return await self.run(fetch)

    async def run(self, work: Callable[[Any], Awaitable[T]], *, repeatable: bool = True) -> T:
        """What `work` makes of a connection; it is one statement or one transaction, so a deadlock leaves nothing."""
        lost = False
        for tries in range(1, TRIES + 1):
            try:
                return await self._run(work)
            except Unavailable as error:
                if lost or not repeatable or isinstance(error.__cause__, TimeoutError):
                    raise
                lost = True  # a connection that died while it lay idle is only noticed by its next user
            except Transient as error:
                if tries == TRIES or not isinstance(error.__cause__, asyncpg.TransactionRollbackError):
                    raise Unavailable(self.db.address, str(error)) from error.__cause__
        raise AssertionError("the last try returns or raises")

    async def _run(self, work: Callable[[Any], Awaitable[T]]) -> T:
        if self._pool is None:
            raise Unavailable(self.db.address, "the ledger is not open: `await ledger.open()` comes first")
        try:
            connection = await self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S)
        except TimeoutError as error:
            raise Unavailable(self.db.address, f"no connection within {ACQUIRE_TIMEOUT_S:g} s") from error
        except DRIVER_ERRORS as error:
            raise self._translated(error, closed=True) from error
        try:
            return await work(connection)
        except TimeoutError as error:
            raise Unavailable(self.db.address, f"no answer within {STATEMENT_TIMEOUT_S:g} s") from error
        except DRIVER_ERRORS as error:
            raise self._translated(error, closed=is_lost(connection)) from error
        finally:
            with suppress(*DRIVER_ERRORS):
                await self._pool.release(connection, timeout=CLOSE_TIMEOUT_S)

    def _translated(self, error: BaseException, *, closed: bool) -> MillraceError:
        return translated(error, where=self.db.address, closed=closed)

    async def _connect(self, *_: Any, **__: Any) -> Any:
        await self._forget([raw for raw in self._open if raw.is_closed()])
        async with AsyncExitStack() as stack:
            connection = await stack.enter_async_context(self.db.connect(name="millrace ledger"))
            await connection.raw.execute(SET_UP)
            self._open[connection.raw] = stack.pop_all()
            return connection.raw

    async def _forget(self, raws: list[Any]) -> None:
        for raw in raws:
            if stack := self._open.pop(raw, None):
                await stack.aclose()


async def _nothing(_: Any) -> None:
    """Nothing is set for a length of time on these connections, so giving one back needs no round trip."""
