"""The Database port on PostgreSQL. The driver is imported when the database is opened: it costs a tenth of a second."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from adapters.database.address import Address
from contracts.errors import Permanent, Unavailable
from contracts.ports.database import Capabilities, CopyFormat, Guard, Row
from contracts.ports.metrics import Metrics
from contracts.ports.secrets import Credential, Secret
from contracts.ports.traces import Traces

if TYPE_CHECKING:
    from adapters.database.connection import Connection
    from adapters.database.embedded import EmbeddedServer
    from adapters.database.pool import ConnectionPool

FIRST_RETRY_S = 0.05
LAST_RETRY_S = 1.0
OLDEST = 15
"""The oldest PostgreSQL that has all that is asked of it."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes and deadlines of a pool."""

    pool_size: int = 10
    open_timeout_s: float = 10.0
    """How long `open` waits for a server that is coming up."""
    connect_timeout_s: float = 5.0
    acquire_timeout_s: float = 30.0
    command_timeout_s: float = 60.0
    """For a statement of the pool itself."""
    work_timeout_s: float = 3600.0
    """For a statement of scoped work (which has a deadline of its own), and for every COPY."""
    statement_cache_size: int = 100
    """0 for PgBouncer in transaction mode; `statement_cache_size=0` in the URL wins."""


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """What every transaction of one piece of work carries."""

    name: str
    guard: Guard | None


class PostgresDb:
    """Implements `Db` on asyncpg, by a URL or on an `EmbeddedServer`, which it then starts, leaves, and starts again
    when that crashed. A `password` that is given apart from the URL is looked up for each connection.

    Rows are plain dicts; json and jsonb are Python values both ways (pass `msgspec.Raw` for text that is JSON
    already). A transaction whose failed statement was caught can't commit: it raises `Permanent`. Session state
    (`set`, `listen`, advisory session locks, temporary tables) has no place in a pool: `connect()` gives a
    connection of one's own. Cancelling is safe anywhere: the statement is cancelled on the server, the transaction
    rolled back, and a connection of which that isn't certain is thrown away.
    """

    capabilities = Capabilities(system="postgresql", transactions=True, counts_rows=True, whole_bulk=True)

    def __init__(
        self,
        url: str | Secret | None = None,
        *,
        password: Credential | None = None,
        server: EmbeddedServer | None = None,
        limits: Limits | None = None,
        metrics: Metrics | None = None,
        traces: Traces | None = None,
        name: str = "millrace",
    ) -> None:
        if (url is None) == (server is None):
            raise ValueError("PostgresDb takes either a URL or an embedded server")
        self._fixed = Address.of_url(url) if url is not None else None
        self._password = password
        self._server = server
        self._limits = limits or Limits()
        self._metrics = metrics
        self._traces = traces
        self._name = name
        self._scope: Scope | None = None
        self._slot: list[ConnectionPool] = []  # shared with the scoped ones, which may be made before it is filled

    async def open(self) -> None:
        """Waits for a server that is coming up, at most `limits.open_timeout_s`; raises `Unavailable`."""
        if self._slot or self._scope is not None:
            return
        address = self._fixed or await self._start_server()
        try:
            self._slot.append(await self._made_pool(address))
        except BaseException:
            if self._server is not None:
                await self._server.leave()
            raise

    async def check(self) -> None:
        await self.fetch_value("select 1")

    async def close(self) -> None:
        if self._scope is not None or not self._slot:
            return
        await self._slot.pop().close()
        if self._server is not None:
            await self._server.leave()

    @property
    def address(self) -> str:
        if self._server is not None:
            return self._server.address
        return self._fixed.shown if self._fixed is not None else ""

    @property
    def pool(self) -> Any:
        """The driver's own pool (`asyncpg.Pool`)."""
        return self._pool().raw

    def transaction(self) -> AbstractAsyncContextManager[Connection]:
        return self._transaction()

    def reading(
        self, *, at: str | None = None, settings: Mapping[str, str] | None = None
    ) -> AbstractAsyncContextManager[Connection]:
        return self._reading(at, settings)

    def scoped(self, *, name: str, guard: Guard | None) -> PostgresDb:
        scoped = copy.copy(self)
        scoped._scope = Scope(name=name, guard=guard)
        return scoped

    def connect(self, *, name: str) -> AbstractAsyncContextManager[Connection]:
        """A connection of one's own, outside the pool, named `name` in `pg_stat_activity`: for LISTEN, session
        locks and what must not wait for the pool. Raises `Unavailable`; says by `on_lost` when it ends."""
        return self._pool().dedicated(name=name)

    async def fetch(self, sql: str, *args: Any) -> list[Row]:
        async with self._statements() as statements:
            return await statements.fetch(sql, *args)

    async def fetch_one(self, sql: str, *args: Any) -> Row | None:
        async with self._statements() as statements:
            return await statements.fetch_one(sql, *args)

    async def fetch_value(self, sql: str, *args: Any) -> Any:
        async with self._statements() as statements:
            return await statements.fetch_value(sql, *args)

    async def pages(self, sql: str, *args: Any, rows: int = 1000) -> AsyncGenerator[list[Row], None]:
        """Holds a connection from the first page to the last."""
        async with self._transaction() as connection, aclosing(connection.pages(sql, *args, rows=rows)) as pages:
            async for page in pages:
                yield page

    async def execute(self, sql: str, *args: Any) -> int:
        async with self._statements() as statements:
            return await statements.execute(sql, *args)

    async def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        async with self._statements() as statements:
            await statements.execute_many(sql, rows)

    async def bulk_insert(self, table: str, rows: Iterable[Sequence[Any]], *, columns: Sequence[str]) -> int:
        async with self._statements() as statements:
            return await statements.bulk_insert(table, rows, columns=columns)

    async def copy_in(
        self,
        table: str,
        source: AsyncIterable[bytes],
        *,
        columns: Sequence[str],
        format: CopyFormat = "binary",
        freeze: bool = False,
    ) -> int:
        async with self._statements() as statements:
            return await statements.copy_in(table, source, columns=columns, format=format, freeze=freeze)

    def _statements(self) -> AbstractAsyncContextManager[Connection]:
        """Outside a scope a statement is a transaction by itself; in a scope it needs one around it."""
        if self._scope is None:
            return self._pool().lend(timeout_s=self._limits.command_timeout_s)
        return self._transaction()

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Connection]:
        scope = self._scope
        timeout_s = self._limits.command_timeout_s if scope is None else self._limits.work_timeout_s
        async with self._pool().lend(timeout_s=timeout_s) as connection:
            name, guard = (None, None) if scope is None else (scope.name, scope.guard)
            async with connection.transaction(name=name, guard=guard):
                yield connection

    @asynccontextmanager
    async def _reading(self, at: str | None, settings: Mapping[str, str] | None) -> AsyncIterator[Connection]:
        name = None if self._scope is None else self._scope.name
        timeout_s = self._limits.command_timeout_s if self._scope is None else self._limits.work_timeout_s
        async with (
            self._pool().lend(timeout_s=timeout_s) as connection,
            connection.reading(name=name, at=at, settings=settings),
        ):
            yield connection

    def _pool(self) -> ConnectionPool:
        if not self._slot:
            raise Unavailable(self.address, "it was not opened, or it is closed: `await db.open()` comes first")
        return self._slot[0]

    async def _start_server(self) -> Address:
        if self._server is None:
            raise ValueError("there is neither a URL nor a server")
        options: Mapping[str, Any] = await self._server.start()
        return Address(options, shown=self._server.address)

    async def _made_pool(self, address: Address) -> ConnectionPool:
        from adapters.database.pool import ConnectionPool

        revive = None if self._server is None else self._server.revive
        pool = ConnectionPool(
            address,
            password=self._password,
            limits=self._limits,
            metrics=self._metrics,
            traces=self._traces,
            name=self._name,
            revive=revive,
        )
        try:
            await self._first_answer(pool)
        except BaseException:
            await pool.close()
            raise
        return pool

    async def _first_answer(self, pool: ConnectionPool) -> None:
        give_up_at = time.perf_counter() + self._limits.open_timeout_s
        pause_s = FIRST_RETRY_S
        while True:
            try:
                async with pool.lend(timeout_s=self._limits.connect_timeout_s) as connection:
                    version = connection.raw.get_server_version().major
                    if version < OLDEST:
                        raise Permanent(f"{self.address} is PostgreSQL {version}; use {OLDEST} or later")
                    return
            except Unavailable as error:
                if not _may_come_up(error) or time.perf_counter() + pause_s > give_up_at:
                    raise
            # A real server's start can't be waited for on a clock that a test turns by hand.
            await asyncio.sleep(pause_s)  # noqa: TID251
            pause_s = min(pause_s * 2, LAST_RETRY_S)


def _may_come_up(error: Unavailable) -> bool:
    """A refused password or an unknown database won't get better by waiting."""
    code = getattr(error.__cause__, "sqlstate", None) or ""
    return not code.startswith(("28", "3D", "42"))
