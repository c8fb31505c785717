"""Statements on Cassandra. The driver is imported when the database is opened: it costs a tenth of a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

from adapters.database import names
from adapters.database.cassandra.bulk import side_by_side
from adapters.database.cassandra.parameters import Parameters, parameters_of
from adapters.database.cassandra.place import Limits, Place
from contracts.errors import BadInput, Permanent, Unavailable
from contracts.metrics import DB_QUERY_DURATION
from contracts.ports.database import Capabilities, Row
from contracts.ports.metrics import Metrics
from contracts.ports.traces import Traces

if TYPE_CHECKING:
    from adapters.database.cassandra.line import Line
    from adapters.database.cassandra.link import Link

FIRST_RETRY_S = 0.1
LAST_RETRY_S = 1.0
SQL_SHOWN = 2_000
"""Characters of a statement in a trace; it has no values in it."""
CHECK = "select key from system.local"


class CassandraDb:
    """Implements `Database` in one keyspace. Each call is one statement, at the declared consistency, with a time of
    this process: of two writes to one cell the later call wins. Statements with parameters are prepared, once.

    A request that is not answered in time raises `Transient`, unless the server answers nothing at all: that is
    `Unavailable`, like every lost connection. Cancelling is safe anywhere: the request is not waited for any more, and
    may have been done.
    """

    capabilities = Capabilities(system="cassandra", transactions=False, counts_rows=False, whole_bulk=False)

    def __init__(
        self,
        place: Place,
        *,
        limits: Limits | None = None,
        metrics: Metrics | None = None,
        traces: Traces | None = None,
    ) -> None:
        self._place = place
        self._limits = limits or Limits()
        self._metrics = metrics
        self._traces = traces
        self._line: Line | None = None

    async def open(self) -> None:
        """Waits for a server that is coming up, at most `limits.open_timeout_s`; raises `Unavailable`."""
        if self._line is None:
            self._line = await self._first_line()

    async def check(self) -> None:
        try:
            await self._ask(CHECK, timeout_s=self._limits.check_timeout_s)
        except Unavailable as error:
            from adapters.database.cassandra.translation import is_nobody_there

            if self._line is not None and is_nobody_there(error):
                self._line.renew()
            raise

    async def close(self) -> None:
        if self._line is not None:
            line, self._line = self._line, None
            await line.close()

    @property
    def address(self) -> str:
        return self._place.shown

    async def fetch(self, sql: str, *args: Any) -> list[Row]:
        found: list[Row] = []
        async with aclosing(self.pages(sql, *args, rows=self._limits.page_rows)) as pages:
            async for page in pages:
                found += page
        return found

    async def fetch_one(self, sql: str, *args: Any) -> Row | None:
        async with aclosing(self.pages(sql, *args, rows=self._limits.page_rows)) as pages:
            async for page in pages:
                return page[0]
        return None

    async def fetch_value(self, sql: str, *args: Any) -> Any:
        row = await self.fetch_one(sql, *args)
        return None if row is None else next(iter(row.values()))

    async def pages(self, sql: str, *args: Any, rows: int = 1000) -> AsyncGenerator[list[Row], None]:
        async with self._timed("fetch", sql):
            statement = await self._statement(parameters_of(sql), args)
            statement.fetch_size = rows
            async with self._known_errors():
                request = await self._link.request(statement, timeout_s=self._limits.request_timeout_s)
                page: list[dict[str, Any]] | None = await request.answer()
        while page is not None:
            if page:  # a filter can leave a page without rows
                yield list(page)
            async with self._timed("fetch", sql), self._known_errors():
                page = await request.more()

    async def execute(self, sql: str, *args: Any) -> int | None:
        """1 or 0 for a conditional statement, by whether it was applied; else None."""
        async with self._timed("execute", sql):
            statement = await self._statement(parameters_of(sql), args)
            answer = await self._ask(statement, timeout_s=self._limits.request_timeout_s)
        return int(bool(answer[0]["[applied]"])) if answer and "[applied]" in answer[0] else None

    async def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        await self._for_each(sql, rows, operation="execute")

    async def bulk_insert(self, table: str, rows: Iterable[Sequence[Any]], *, columns: Sequence[str]) -> int:
        """Those that were added before an error stay."""
        named = ", ".join(map(names.quote, columns))
        marks = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
        sql = f"insert into {names.quote_table(table)} ({named}) values ({marks})"  # noqa: S608 - names are quoted
        return await self._for_each(sql, rows, operation="copy", columns=len(columns))

    async def _for_each(
        self, sql: str, rows: Iterable[Sequence[Any]], *, operation: str, columns: int | None = None
    ) -> int:
        parameters = parameters_of(sql)

        async def one(number: int, row: Sequence[Any]) -> None:
            if columns is not None and len(row) != columns:
                raise BadInput(f"row {number} has {len(row)} values for {columns} columns")
            try:
                await self._ask(_bound(prepared, parameters, row), timeout_s=self._limits.request_timeout_s)
            except Permanent as error:
                raise BadInput(f"row {number}: {error}") from error

        async with self._timed(operation, sql):
            prepared = await self._prepared(parameters)
            return await side_by_side(rows, one, most=min(self._limits.side_by_side, self._limits.in_flight))

    async def _statement(self, parameters: Parameters, args: Sequence[Any]) -> Any:
        """What has no parameters is not prepared: DDL, mostly."""
        if not parameters.count and not args:
            return _plain(parameters.cql)
        return _bound(await self._prepared(parameters), parameters, args)

    async def _prepared(self, parameters: Parameters) -> Any:
        async with self._known_errors():
            prepared = await self._link.prepared.get(parameters.cql)
        if len(prepared.column_metadata) != len(parameters.order):
            raise Permanent(f"parameters are $1, $2 and so on, and nothing else: {parameters.cql[:100]}")
        return prepared

    async def _ask(self, statement: Any, *, timeout_s: float) -> list[dict[str, Any]]:
        """The first page of the answer."""
        async with self._known_errors():
            request = await self._link.request(statement, timeout_s=timeout_s)
            return await request.answer()

    @asynccontextmanager
    async def _known_errors(self) -> AsyncIterator[None]:
        """What the driver raises comes out as an error of the port; it stands around the driver's calls alone, as a
        source of rows may raise the same."""
        from adapters.database.cassandra.translation import DRIVER_ERRORS, is_late, translated

        try:
            yield
        except DRIVER_ERRORS as error:
            if is_late(error):
                await self._check_after()
            raise translated(error, where=self.address) from error

    async def _check_after(self) -> None:
        """Raises `Unavailable` where the server answers nothing at all: it is not the statement that is too slow."""
        from adapters.database.cassandra.translation import DRIVER_ERRORS

        try:
            request = await self._link.request(CHECK, timeout_s=self._limits.check_timeout_s)
            await request.answer()
        except DRIVER_ERRORS as silent:
            raise Unavailable(self.address, "it does not answer") from silent

    @asynccontextmanager
    async def _timed(self, operation: str, sql: str) -> AsyncIterator[None]:
        started, failed = time.perf_counter(), ""
        try:
            yield
        except BaseException as error:
            failed = type(error).__name__
            raise
        finally:
            took_s = time.perf_counter() - started
            if self._metrics is not None:
                self._metrics.observe(DB_QUERY_DURATION, took_s * 1000, operation=operation)
            if self._traces is not None:
                about = {"db.system.name": self.capabilities.system, "db.query.text": sql[:SQL_SHOWN]}
                name = f"{self.capabilities.system} {operation}"
                self._traces.ended(name, kind="client", took_s=took_s, about=about, error=failed)

    @property
    def _link(self) -> Link:
        if self._line is None:
            raise Unavailable(self.address, "it was not opened, or it is closed: `await db.open()` comes first")
        return self._line.link

    async def _first_line(self) -> Line:
        """Waits on the system's clock: a real server's start can't be waited for on one that a test turns by hand."""
        give_up_at, pause_s = time.perf_counter() + self._limits.open_timeout_s, FIRST_RETRY_S
        while True:
            try:
                return await self._attempt()
            except Unavailable as error:
                from adapters.database.cassandra.translation import may_come_up

                if not may_come_up(error) or time.perf_counter() + pause_s > give_up_at:
                    raise
            await asyncio.sleep(pause_s)  # noqa: TID251
            pause_s = min(pause_s * 2, LAST_RETRY_S)

    async def _attempt(self) -> Line:
        from adapters.database.cassandra.line import Line

        try:
            async with asyncio.timeout(self._limits.attempt_timeout_s):
                return await Line.opened(self._place, self._limits)
        except TimeoutError:
            raise Unavailable(self.address, f"no connection within {self._limits.attempt_timeout_s:g} s") from None


def _plain(cql: str) -> Any:
    from cassandra.query import SimpleStatement

    return SimpleStatement(cql)


def _bound(prepared: Any, parameters: Parameters, args: Sequence[Any]) -> Any:
    """Raises `Permanent` for values that don't fit, without repeating them."""
    values = parameters.values(args)
    try:
        return prepared.bind(values)
    except Exception as error:  # noqa: BLE001 - each of the driver's types raises what it likes
        raise Permanent(_unfit(prepared, values, error)) from None


def _unfit(prepared: Any, values: Sequence[Any], error: Exception) -> str:
    """The driver names the column where it is the type that is wrong, and nothing where it is the value."""
    for column, value in zip(prepared.column_metadata, values, strict=True):
        try:
            column.type.serialize(value, prepared.protocol_version) if value is not None else None
        except Exception:  # noqa: BLE001 - whatever it dislikes
            return f"{column.name} takes {column.type.cql_parameterized_type()}; what came is of {type(value).__name__}"
    return type(error).__name__
