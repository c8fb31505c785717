"""One connection: its statements, transactions and notifications, with the errors of the port."""

from __future__ import annotations

import itertools
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from adapters.database import copying
from adapters.database.copying import affected
from adapters.database.timing import tell
from adapters.database.translation import DRIVER_ERRORS, is_lost, translated
from contracts import sql as text
from contracts.errors import LeaseLost, Permanent
from contracts.ports.database import CopyFormat, Guard, Row
from contracts.ports.metrics import Metrics
from contracts.ports.traces import Traces

if TYPE_CHECKING:
    from adapters.database.copying import RawConnection

T = TypeVar("T")

BEGIN_WORK = "select set_config('application_name', $1, true), pg_stat_force_next_flush()"
"""Names the transaction, and has PostgreSQL count what it did at once when it ends, instead of within ten seconds: by
these counts one can tell that a table has changed."""
BEGIN_FENCED = f"{BEGIN_WORK}, pg_advisory_xact_lock_shared(hashtext($2), $3)"
"""The lock keeps nobody out: `pg_locks` shows by it which fence the transaction has."""
BEGIN_READING = "begin isolation level repeatable read, read only"
UNDO_TIMEOUT_S = 5.0
"""A connection that can't roll back for this long is thrown away, which rolls back as well."""


class Connection:
    """Implements `Tx` (inside `transaction()`) and `Queries`; not for two concurrent callers."""

    def __init__(
        self,
        raw: RawConnection,
        *,
        where: str,
        timeout_s: float,
        copy_timeout_s: float,
        metrics: Metrics | None,
        traces: Traces | None = None,
    ) -> None:
        self.raw = raw
        self._where = where
        self._timeout_s = timeout_s
        self._copy_timeout_s = copy_timeout_s
        self._metrics = metrics
        self._traces = traces
        self._savepoints = itertools.count(1)

    async def fetch(self, sql: str, *args: Any) -> list[Row]:
        records = await self._run("fetch", sql, lambda: self.raw.fetch(sql, *args, timeout=self._timeout_s))
        return [dict(record) for record in records]

    async def fetch_one(self, sql: str, *args: Any) -> Row | None:
        record = await self._run("fetch", sql, lambda: self.raw.fetchrow(sql, *args, timeout=self._timeout_s))
        return None if record is None else dict(record)

    async def fetch_value(self, sql: str, *args: Any) -> Any:
        return await self._run("fetch", sql, lambda: self.raw.fetchval(sql, *args, timeout=self._timeout_s))

    async def pages(self, sql: str, *args: Any, rows: int = 1000) -> AsyncGenerator[list[Row], None]:
        """Within a transaction only, as a cursor ends with it."""
        cursor = await self._run("fetch", sql, lambda: self.raw.cursor(sql, *args, timeout=self._timeout_s))
        while page := await self._run("fetch", sql, lambda: cursor.fetch(rows, timeout=self._timeout_s)):
            yield [dict(record) for record in page]

    async def execute(self, sql: str, *args: Any) -> int:
        return affected(await self._run("execute", sql, lambda: self.raw.execute(sql, *args, timeout=self._timeout_s)))

    async def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        given = iter(rows)
        if (first := next(given, None)) is None:
            # Of no rows the driver leaves the server in the middle of a transaction, which the next one finds begun.
            return
        whole = itertools.chain([first], given)
        await self._run("execute", sql, lambda: self.raw.executemany(sql, whole, timeout=self._timeout_s))

    async def bulk_insert(self, table: str, rows: Iterable[Sequence[Any]], *, columns: Sequence[str]) -> int:
        return await self._timed(
            "copy",
            f"copy {table}",
            copying.copy_rows(
                self.raw, table, rows, columns=columns, timeout_s=self._copy_timeout_s, where=self._where
            ),
        )

    async def copy_in(
        self,
        table: str,
        source: AsyncIterable[bytes],
        *,
        columns: Sequence[str],
        format: CopyFormat = "binary",
        freeze: bool = False,
    ) -> int:
        return await self._timed(
            "copy",
            f"copy {table}",
            copying.copy_stream(
                self.raw,
                table,
                source,
                columns=columns,
                format=format,
                freeze=freeze,
                timeout_s=self._copy_timeout_s,
                where=self._where,
            ),
        )

    @asynccontextmanager
    async def transaction(self, *, name: str | None = None, guard: Guard | None = None) -> AsyncIterator[Connection]:
        """Commits at the end of its block, rolls back when that raises or is cancelled.

        `name` becomes the application's name for this transaction; `guard` runs last before the commit.
        """
        try:
            await self._run("begin", "begin", lambda: self.raw.execute("begin", timeout=self._timeout_s))
            if name is not None:
                fence = () if guard is None or guard.fence is None else guard.fence
                await self.fetch_value(BEGIN_FENCED if fence else BEGIN_WORK, name, *fence)
            yield self
            if guard is not None and await self.fetch_one(guard.sql, *guard.args) is None:
                raise LeaseLost("another worker owns this work now: its fence has moved on, so nothing was committed")
            status = await self._run("commit", "commit", lambda: self.raw.execute("commit", timeout=self._timeout_s))
        except BaseException:
            await self._undo("rollback")
            raise
        if status == "ROLLBACK":
            raise Permanent(
                "nothing was committed: a statement of this transaction had failed and its error was caught; "
                "put what may fail in a savepoint()"
            )

    @asynccontextmanager
    async def reading(
        self, *, name: str | None = None, at: str | None = None, settings: Mapping[str, str] | None = None
    ) -> AsyncIterator[Connection]:
        """As `Db.reading`. All of its beginning is one round trip."""
        own = {**({} if name is None else {"application_name": name}), **(settings or {})}
        begin = [BEGIN_READING, *([] if at is None else [f"set transaction snapshot {text.literal(at)}"])]
        begin += [f"set local {setting} = {text.literal(value)}" for setting, value in own.items()]
        try:
            await self._run("begin", "begin", lambda: self.raw.execute("; ".join(begin), timeout=self._timeout_s))
            yield self
        finally:
            await self._undo("rollback")

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """What its block did is undone when it raises; the transaction goes on."""
        name = f"millrace_{next(self._savepoints)}"
        await self._run("begin", "savepoint", lambda: self.raw.execute(f"savepoint {name}", timeout=self._timeout_s))
        try:
            yield
        except BaseException:
            await self._undo(f"rollback to savepoint {name}; release savepoint {name}")
            raise
        await self._run(
            "commit",
            "release savepoint",
            lambda: self.raw.execute(f"release savepoint {name}", timeout=self._timeout_s),
        )

    async def listen(self, channel: str, callback: Callable[[str], None]) -> None:
        """`callback` gets the payload of each notification, on the event loop; ends with the connection."""
        await self._run("execute", "listen", lambda: self.raw.add_listener(channel, lambda *came: callback(came[3])))

    def on_lost(self, callback: Callable[[], None]) -> None:
        """`callback` is called once, on the event loop, when the connection ends for whatever reason."""
        self.raw.add_termination_listener(lambda _: callback())

    @property
    def lost(self) -> bool:
        return is_lost(self.raw)

    async def _run(self, operation: str, sql: str, call: Callable[[], Awaitable[T]]) -> T:
        try:
            # Made here, as the driver refuses some calls at once.
            return await self._timed(operation, sql, call())
        except DRIVER_ERRORS as error:
            raise translated(error, where=self._where, closed=self.lost) from error

    async def _timed(self, operation: str, sql: str, call: Awaitable[T]) -> T:
        if self._metrics is None and self._traces is None:
            return await call
        started, error = time.perf_counter(), ""
        try:
            return await call
        except BaseException as raised:
            error = type(raised).__name__
            raise
        finally:
            took_s = time.perf_counter() - started
            tell(
                self._metrics,
                self._traces,
                system="postgresql",
                operation=operation,
                sql=sql,
                took_s=took_s,
                error=error,
            )

    async def _undo(self, sql: str) -> None:
        """Never leaves half a transaction open, whatever happens: what can't be undone is disconnected."""
        if self.lost:
            return
        undone = False
        try:
            with anyio.move_on_after(UNDO_TIMEOUT_S, shield=True):
                await self.raw.execute(sql)
                undone = True
        except DRIVER_ERRORS:
            undone = False  # the error that led here says more
        finally:
            if not undone and not self.lost:
                self.raw.terminate()
