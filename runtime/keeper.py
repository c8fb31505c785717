"""How a handler is run that is not only awaited: a plain function in a thread, one that declares `stall_s` watched."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from contracts.module import Route
from contracts.ports import Log
from runtime import stacks
from runtime.liveness import Liveness
from runtime.threads import Piece, Threads


def is_plain(handler: Callable[..., Any]) -> bool:
    """Whether a handler is a `def`, to be run in a thread."""
    call = getattr(handler, "__call__", None)  # noqa: B004 - an object whose call is `async def` is one as well
    return not (inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(call))


class Keeper:
    """Of one route."""

    def __init__(self, route: Route, threads: Threads, liveness: Liveness, log: Log) -> None:
        self._address = route.address
        self._timeout_s = route.timeout_s
        self._stall_s = route.stall_s
        self._plain = is_plain(route.handler)
        self._threads = threads
        self._liveness = liveness
        self._log = log
        if route.stall_s is not None:
            liveness.declare(route.stall_s)

    @staticmethod
    def wanted(route: Route) -> bool:
        """Whether the route's handler needs one at all: most are only awaited."""
        return route.stall_s is not None or is_plain(route.handler)

    async def run(self, call: Callable[[], Any]) -> Any:
        """What the handler returns or raises."""
        if self._plain:
            return await self._in_thread(call)
        assert self._stall_s is not None
        return await self._liveness.watch(call(), address=self._address, stall_s=self._stall_s)

    async def _in_thread(self, call: Callable[[], Any]) -> Any:
        if self._stall_s is None:
            return await self._threads.run(Piece(call, outlived=self._outlived))
        piece: Piece | None = None

        def stack() -> str:
            return _where(piece)

        with self._liveness.watching(address=self._address, stall_s=self._stall_s, stack=stack, cut=None):
            piece = Piece(call, outlived=self._outlived)
            return await self._threads.run(piece)

    def _outlived(self, piece: Piece) -> None:
        task = asyncio.current_task()
        self._log.warn(
            "a handler that runs in a thread can't be ended: it is waited for, and what it comes to is its outcome",
            address=self._address,
            timeout_s=self._timeout_s,
            task=task.get_name() if task else "",
            stack=_where(piece),
        )


def _where(piece: Piece | None) -> str:
    ident = piece.ident if piece else None
    return stacks.of_thread(ident) if ident is not None else "it waits for a thread"
