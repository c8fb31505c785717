"""Making the next piece while the last one is on its way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator


class Ahead:
    """An async iterator over a slow one, which it keeps at work one piece ahead.

    The pieces' own errors come out where the piece was asked for. `aclose` ends the piece that is being made and
    closes the iterator behind it: afterwards nothing of it runs any more.
    """

    def __init__(self, pieces: AsyncGenerator[bytes]) -> None:
        self._pieces = pieces
        self._next: asyncio.Task[bytes | None] | None = None
        self._closed = False

    def __aiter__(self) -> Ahead:
        return self

    async def __anext__(self) -> bytes:
        if self._closed:
            raise StopAsyncIteration
        piece = await (self._next or self._ask())
        if piece is None:
            await self.aclose()
            raise StopAsyncIteration
        self._ask()
        return piece

    def _ask(self) -> asyncio.Task[bytes | None]:
        self._next = asyncio.get_running_loop().create_task(self._one(), name="batch_etl: ahead")
        return self._next

    async def _one(self) -> bytes | None:
        return await anext(self._pieces, None)

    async def aclose(self) -> None:
        """Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._next is not None:
            self._next.cancel()
            await asyncio.gather(self._next, return_exceptions=True)
        await self._pieces.aclose()
