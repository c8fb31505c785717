"""The one transaction of a message: opened when its handler first asks the database for something, committed together
with the position when the handler has ended, undone when it failed."""

from __future__ import annotations

import asyncio
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
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from types import TracebackType
from typing import Any, TypeVar

from contracts.ports import Db, Guard, Tx
from contracts.ports.database import Capabilities, CopyFormat, Row

T = TypeVar("T")
Opens = Callable[[], AbstractAsyncContextManager[Tx]]


class MessageDb:
    """Implements `Db` and `Tx` for one attempt. Whatever the handler does with it is one transaction: a `transaction()`
    within is a savepoint. Calls from several tasks of a handler take turns."""

    def __init__(self, opens: Opens, db: Callable[[], Db]) -> None:
        self._opens = opens
        self._db = db
        self._stack = AsyncExitStack()
        self._tx: Tx | None = None
        self._turn = asyncio.Lock()

    @property
    def began(self) -> bool:
        """Something was asked of it."""
        return self._tx is not None

    async def begin(self) -> Tx:
        if self._tx is None:
            self._tx = await self._stack.enter_async_context(self._opens())
        return self._tx

    async def end(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Commit, or undo for an error. Raises `LeaseLost` when the partition is not ours any more."""
        await self._stack.__aexit__(kind, error, trace)

    # Queries.

    async def fetch(self, sql: str, *args: Any) -> list[Row]:
        return await self._do(lambda tx: tx.fetch(sql, *args))

    async def fetch_one(self, sql: str, *args: Any) -> Row | None:
        return await self._do(lambda tx: tx.fetch_one(sql, *args))

    async def fetch_value(self, sql: str, *args: Any) -> Any:
        return await self._do(lambda tx: tx.fetch_value(sql, *args))

    async def pages(self, sql: str, *args: Any, rows: int = 1000) -> AsyncGenerator[list[Row], None]:
        async with self._turn:
            tx = await self.begin()
        async with aclosing(tx.pages(sql, *args, rows=rows)) as pages:
            while page := await self._do(lambda _: anext(pages, [])):
                yield page

    async def execute(self, sql: str, *args: Any) -> int:
        return await self._do(lambda tx: tx.execute(sql, *args))

    async def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        await self._do(lambda tx: tx.execute_many(sql, rows))

    async def bulk_insert(self, table: str, rows: Iterable[Sequence[Any]], *, columns: Sequence[str]) -> int:
        return await self._do(lambda tx: tx.bulk_insert(table, rows, columns=columns))

    async def copy_in(
        self,
        table: str,
        source: AsyncIterable[bytes],
        *,
        columns: Sequence[str],
        format: CopyFormat = "binary",
        freeze: bool = False,
    ) -> int:
        return await self._do(lambda tx: tx.copy_in(table, source, columns=columns, format=format, freeze=freeze))

    # Blocks.

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        """What its block did is undone when it raises; it commits with everything else of this message."""
        async with self.savepoint():
            yield self

    def reading(
        self, *, at: str | None = None, settings: Mapping[str, str] | None = None
    ) -> AbstractAsyncContextManager[Tx]:
        """Beside it: what this message did is not committed yet, and not seen."""
        return self._db().reading(at=at, settings=settings)

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        tx = await self.begin()
        async with tx.savepoint():
            yield

    def scoped(self, *, name: str, guard: Guard | None) -> Db:
        """Itself: its name and its guard are the message's."""
        return self

    # The adapter that stands behind it.

    async def open(self) -> None:
        await self._db().open()

    async def check(self) -> None:
        await self._db().check()

    async def close(self) -> None:
        """The transaction is ended by who made it."""

    @property
    def address(self) -> str:
        return self._db().address

    @property
    def capabilities(self) -> Capabilities:
        return self._db().capabilities

    async def _do(self, call: Callable[[Tx], Awaitable[T]]) -> T:
        async with self._turn:
            return await call(await self.begin())
