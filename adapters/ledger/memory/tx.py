"""A transaction of the ledger in memory: no SQL, but what is staged in it happens with its end, or not at all."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from contracts.errors import Permanent
from contracts.ports.database import CopyFormat, Row

NO_DATABASE = (
    "the memory ledger has no database, so nothing can be asked of it in SQL: "
    "run it on PostgreSQL (`--db postgres`), or hand the handler a fake `Db` in the test"
)


class MemoryTx:
    """Implements `Tx`, whose statements all raise `Permanent`."""

    def __init__(self) -> None:
        self._staged: list[Callable[[], None]] = []

    def stage(self, change: Callable[[], None]) -> None:
        """`change` is called at the commit, after those staged before it; it must neither wait nor raise."""
        self._staged.append(change)

    def apply(self) -> None:
        """For the owner of the transaction, once it may commit."""
        for change in self._staged:
            change()

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """What its block staged is forgotten when it raises."""
        before = len(self._staged)
        try:
            yield
        except BaseException:
            del self._staged[before:]
            raise

    async def fetch(self, sql: str, *args: Any) -> list[Row]:
        raise Permanent(NO_DATABASE)

    async def fetch_one(self, sql: str, *args: Any) -> Row | None:
        raise Permanent(NO_DATABASE)

    async def fetch_value(self, sql: str, *args: Any) -> Any:
        raise Permanent(NO_DATABASE)

    def pages(self, sql: str, *args: Any, rows: int = 1000) -> AsyncGenerator[list[Row], None]:
        raise Permanent(NO_DATABASE)

    async def execute(self, sql: str, *args: Any) -> int:
        raise Permanent(NO_DATABASE)

    async def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        raise Permanent(NO_DATABASE)

    async def bulk_insert(self, table: str, rows: Iterable[Sequence[Any]], *, columns: Sequence[str]) -> int:
        raise Permanent(NO_DATABASE)

    async def copy_in(
        self,
        table: str,
        source: AsyncIterable[bytes],
        *,
        columns: Sequence[str],
        format: CopyFormat = "binary",
        freeze: bool = False,
    ) -> int:
        raise Permanent(NO_DATABASE)
