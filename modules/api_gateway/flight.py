"""One caller does the work, and those who want the same thing meanwhile get what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")

_AGAIN = object()
"""Whoever did the work was called off: the next one does it."""


class Flight(Generic[T]):
    """By key. Nobody waits longer than for whoever does the work, who has a deadline of their own."""

    def __init__(self) -> None:
        self._under_way: dict[str, asyncio.Future[object]] = {}

    async def of(self, key: str, work: Callable[[], Awaitable[T]]) -> T:
        """What `work` returns or raises, in this call or in one that was under way."""
        while (going := self._under_way.get(key)) is not None:
            # A future can't be cancelled by one of many who wait for it.
            became = await asyncio.shield(going)
            if isinstance(became, Exception):
                raise became
            if became is not _AGAIN:
                return became  # type: ignore[return-value]
        mine = self._under_way[key] = asyncio.get_running_loop().create_future()
        told: object = _AGAIN
        try:
            made = await work()
        except Exception as error:
            told = error
            raise
        else:
            told = made
            return made
        finally:
            del self._under_way[key]
            mine.set_result(told)
