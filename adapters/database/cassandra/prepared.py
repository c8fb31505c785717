"""Statements that the server knows already."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

Prepare = Callable[[str], Awaitable[Any]]


class Prepared:
    """The latest `most` of them. Of all who ask for a new one at the same time one has it prepared, and what came of
    that is the others' as well; when that one is cancelled, the next one does it."""

    def __init__(self, prepare: Prepare, *, most: int) -> None:
        self._prepare = prepare
        self._most = most
        self._known: OrderedDict[str, Any] = OrderedDict()
        self._under_way: dict[str, asyncio.Future[None]] = {}

    def __len__(self) -> int:
        return len(self._known)

    async def get(self, cql: str) -> Any:
        """The driver's statement. Raises what `prepare` does."""
        while (made := self._known.get(cql)) is None:
            if (under_way := self._under_way.get(cql)) is None:
                return await self._made(cql)
            await asyncio.wait([under_way])
            if not under_way.cancelled() and (error := under_way.exception()) is not None:
                raise error
        self._known.move_to_end(cql)
        return made

    async def _made(self, cql: str) -> Any:
        under_way = self._under_way[cql] = asyncio.get_running_loop().create_future()
        try:
            made = self._known[cql] = await self._prepare(cql)
        except Exception as error:
            under_way.set_exception(error)
            under_way.exception()  # perhaps nobody else has asked
            raise
        finally:
            del self._under_way[cql]
            under_way.cancel()  # (of no effect on what has ended)
        if len(self._known) > self._most:
            self._known.popitem(last=False)
        return made
