"""Making the next piece in a thread while the last one is on its way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor


class Ahead:
    """An async iterator over a slow, blocking one, which runs in a thread of its own one piece ahead.

    The pieces' own errors come out where the piece was asked for. `aclose` waits for the piece that is being made:
    afterwards nothing of the blocking iterator runs any more.
    """

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batch_etl")
        self._next: asyncio.Future[bytes | None] | None = None
        self._closed = False

    def __aiter__(self) -> Ahead:
        return self

    async def __anext__(self) -> bytes:
        if self._closed:
            raise StopAsyncIteration
        piece = await asyncio.shield(self._next or self._ask())
        self._next = None
        if piece is None:
            await self.aclose()
            raise StopAsyncIteration
        self._next = self._ask()
        return piece

    def _ask(self) -> asyncio.Future[bytes | None]:
        self._next = asyncio.get_running_loop().run_in_executor(self._thread, next, self._pieces, None)
        return self._next

    async def aclose(self) -> None:
        """Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._next is not None:
            # Waited for even when we are cancelled: what it reads is closed right after us.
            await asyncio.gather(self._next, return_exceptions=True)
        self._thread.shutdown(wait=True)
