"""SQL on PostgreSQL: queries, transactions and bulk loads."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
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


class Queries(Protocol):
    """What can be asked, inside a transaction or outside. SQL takes `$1` parameters, never formatted values."""

    async def fetch(self, sql: str, *args: Any) -> list[Row]: ...

    async def fetch_one(self, sql: str, *args: Any) -> Row | None:
        """The first row, or None."""
        ...

    async def fetch_value(self, sql: str, *args: Any) -> Any:
        """The first column of the first row, or None."""
        ...

    async def execute(self, sql: str, *args: Any) -> int:
        """The number of rows affected (0 for DDL). Without arguments, several statements may stand in `sql`."""
        ...

    async def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None: ...

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


class Db(Queries, Checked, Protocol):
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
