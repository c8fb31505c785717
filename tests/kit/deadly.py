"""A database on which whoever uses it dies, before any statement that a test names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any


class Killed(BaseException):
    """Stands for the end of the process: nothing of ours runs after it but the closing of connections."""


class Deadly:
    """A database on which the worker dies before statement number `at`, of all that it sends."""

    def __init__(self, db: Any, at: int | None, counted: list[int] | None = None) -> None:
        self._db = db
        self._at = at
        self._counted = [0] if counted is None else counted

    @property
    def statements(self) -> int:
        return self._counted[0]

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._db, name)
        if name not in ("fetch", "fetch_one", "fetch_value", "execute", "execute_many", "bulk_insert", "copy_in"):
            return method

        async def counted(*args: Any, **kwargs: Any) -> Any:
            self._die_at_the_hour()
            return await method(*args, **kwargs)

        return counted

    def _die_at_the_hour(self) -> None:
        self._counted[0] += 1
        if self._counted[0] == self._at:
            raise Killed

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        async with self._db.transaction() as tx:
            yield Deadly(tx, self._at, self._counted)
            self._die_at_the_hour()  # before the commit
        self._die_at_the_hour()  # after it

    @asynccontextmanager
    async def reading(self, **said: Any) -> AsyncIterator[Any]:
        async with self._db.reading(**said) as tx:
            yield Deadly(tx, self._at, self._counted)
