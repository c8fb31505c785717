"""Making the next piece while the last one is worked on: stages with one of these between them run side by side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Generic, TypeVar

T = TypeVar("T")


class Ahead(Generic[T]):
    """An async iterator over a slow one, which it keeps at work one piece ahead.

    The pieces' own errors come out where the piece was asked for. `aclose` ends the piece that is being made and
    closes the iterator behind it: afterwards nothing of it runs any more.
    """

    def __init__(self, pieces: AsyncGenerator[T]) -> None:
        self._pieces = pieces
        self._next: asyncio.Task[tuple[T, ...]] | None = None
        self._closed = False

    def __aiter__(self) -> Ahead[T]:
        return self

    async def __anext__(self) -> T:
        if self._closed:
            raise StopAsyncIteration
        got = await (self._next or self._ask())
        if not got:
            await self.aclose()
            raise StopAsyncIteration
        self._ask()
        return got[0]

    def _ask(self) -> asyncio.Task[tuple[T, ...]]:
        self._next = asyncio.get_running_loop().create_task(self._one(), name="batch_etl: ahead")
        return self._next

    async def _one(self) -> tuple[T, ...]:
        """The next piece, or nothing at the end."""
        async for piece in self._pieces:
            return (piece,)
        return ()

    async def aclose(self) -> None:
        """Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._next is not None:
            self._next.cancel()
            await asyncio.gather(self._next, return_exceptions=True)
        await self._pieces.aclose()
