"""The database: statements by themselves on PostgreSQL or Cassandra; transactions and COPY on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, Protocol

import msgspec

from contracts.ports.health import Checked

Row = Mapping[str, Any]
CopyFormat = Literal["binary", "text", "csv"]


class Guard(msgspec.Struct, frozen=True, kw_only=True):
    """The last statement of a transaction before its commit: no row means `LeaseLost` and a rollback."""

    sql: str
    args: tuple[Any, ...]
    fence: tuple[str, int] | None = None
    """What the transaction works on, and under which fence: told to the database from its beginning, so that one that
    stands still after the fence has moved on can be found, and ended."""


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What an implementation keeps. The conformance suite reads it, and so does the runtime, which refuses at start who
    asks for more."""

    system: str
    """What it is, as OpenTelemetry calls it."""
    transactions: bool
    """Several statements are one, whatever rows they touch: `Db` and `Tx` can be had."""
    counts_rows: bool
    """`execute` tells how many rows it has changed."""
    whole_bulk: bool
    """`bulk_insert` and `execute_many` add all rows or none."""


class Statements(Protocol):
    """Statements, each by itself: what PostgreSQL and Cassandra have in common. They take `$1` parameters, never
    formatted values; the language is the database's own.

    A handler that asks for it has its effects at once, outside of the ledger's transaction and whatever becomes of its
    message: after a failure or a crash they happen again, so they must be such that twice is as good as once. Errors
    are those of `Db`.
    """

    async def fetch(self, sql: str, *args: Any) -> list[Row]:
        """All rows, in memory. Instants come as aware UTC."""
        ...

    async def fetch_one(self, sql: str, *args: Any) -> Row | None:
        """The first row, or None."""
        ...

    async def fetch_value(self, sql: str, *args: Any) -> Any:
        """The first column of the first row, or None."""
        ...

    def pages(self, sql: str, *args: Any, rows: int = 1000) -> AsyncGenerator[list[Row], None]:
        """The rows, so many at a time (and no more in memory), none of them empty. Who leaves early closes it:
        `async with aclosing(db.pages(…)) as pages`."""
        ...

    async def execute(self, sql: str, *args: Any) -> int | None:
        """The number of rows affected (0 for DDL); None where the database does not count them. On Cassandra a
        conditional statement (`if not exists`) tells 1 when it was applied, else 0."""
        ...

    async def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """The statement for each row; all or none with `whole_bulk`, else side by side."""
        ...

    async def bulk_insert(self, table: str, rows: Iterable[Sequence[Any]], *, columns: Sequence[str]) -> int:
        """Add Python rows to `table` ("schema.name" or "name"); returns how many. All or none with `whole_bulk`; else
        side by side, a later row of the same key wins, and after an error some may be there. A row that can't be added
        raises `BadInput` with its number."""
        ...


class Database(Statements, Checked, Protocol):
    """What implements `Statements`, as the runtime and the suite see it."""

    @property
    def capabilities(self) -> Capabilities: ...


class Queries(Statements, Protocol):
    """What can be asked of PostgreSQL, inside a transaction or outside."""

    async def execute(self, sql: str, *args: Any) -> int:
        """The number of rows affected (0 for DDL). Without arguments, several statements may stand in `sql`."""
        ...

    async def bulk_insert(self, table: str, rows: Iterable[Sequence[Any]], *, columns: Sequence[str]) -> int:
        """COPY Python rows into `table` ("schema.name" or "name"); all or none; returns how many."""
        ...

    async def copy_in(
        self,
        table: str,
        source: AsyncIterable[bytes],
        *,
        columns: Sequence[str],
        format: CopyFormat = "binary",
        freeze: bool = False,
    ) -> int:
        """COPY an encoded byte stream into `table`; all or none; returns how many rows.

        `freeze` needs a table made or emptied in this transaction. What the server refuses raises `BadInput`.
        """
        ...


class Tx(Queries, Protocol):
    """An open transaction: commits when its block ends, rolls back when it raises (cancellation included)."""

    def savepoint(self) -> AbstractAsyncContextManager[None]: ...


class Db(Queries, Database, Protocol):
    """A pool. Each call outside a transaction is a transaction of its own.

    A lost connection or server raises `Unavailable`; a deadlock or serialization failure `Transient`; a
    constraint, type or syntax error `Permanent`. Whether a commit whose answer was lost took place is unknown:
    it raises `Unavailable`, and the effects must be idempotent or guarded.
    """

    def transaction(self) -> AbstractAsyncContextManager[Tx]: ...

    def reading(
        self, *, at: str | None = None, settings: Mapping[str, str] | None = None
    ) -> AbstractAsyncContextManager[Tx]:
        """A transaction that can't write, and sees what was committed at one moment: that of its first question, or
        with `at` that of another one, still open, which `select pg_export_snapshot()` told. `settings` of the server
        are its own. There is nothing to guard, so no guard is asked."""
        ...

    def scoped(self, *, name: str, guard: Guard | None) -> Db:
        """The same pool for one piece of work: every transaction carries `name` as `application_name` (set once,
        by a bound parameter, local to the transaction) and runs `guard` as its last statement before commit."""
        ...
