"""Handlers that are plain functions run here: one bounded pool of threads for the process.

A thread can't be ended from outside. So whoever waits for one goes on waiting when it is cancelled, and what the
handler comes to is its outcome: it is never acknowledged before it has ended. Only a drain gives up in the end, and
says so; the threads die with the process, which does not wait for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

from contracts.errors import Permanent
from runtime.policy.retry import Unstarted

MOST_BY_DEFAULT = 32
BY_DEFAULT_FOR_EACH_CPU = 4


class Abandoned(Exception):
    """The process ends, and the handler's thread did not: nothing may be settled, nothing acknowledged."""


class Piece:
    """One call of a handler. `ident` is the number of the thread that runs it, `outlived` hears once when it was to end
    and could not be made to."""

    def __init__(self, call: Callable[[], Any], *, outlived: Callable[[Piece], None] | None = None) -> None:
        self.ident: int | None = None
        self.future: Future[Any] = Future()
        self._call = call
        self._context = contextvars.copy_context()
        self._outlived = outlived

    def run(self) -> None:
        """In the thread."""
        if not self.future.set_running_or_notify_cancel():
            return
        self.ident = threading.get_ident()
        try:
            result = self._context.run(self._call)
        except BaseException as error:  # noqa: BLE001 - it is raised again where the handler is waited for
            self.future.set_exception(error)
        else:
            self.future.set_result(result)
        finally:
            self.ident = None

    def outlives(self) -> None:
        """It was told to end, and goes on."""
        told, self._outlived = self._outlived, None
        if told:
            told(self)


class Threads:
    """Threads are started when they are needed, at most `size` (by default four for each CPU, at most 32); what waits
    for one is bounded by who waits for it."""

    def __init__(self, size: int | None = None) -> None:
        self._size = size or min(MOST_BY_DEFAULT, BY_DEFAULT_FOR_EACH_CPU * (os.cpu_count() or 1))
        self._queue: SimpleQueue[Piece | None] = SimpleQueue()
        self._started = 0
        self._busy = 0
        self._closed = False
        self._waiting: set[asyncio.Event] = set()

    async def run(self, piece: Piece) -> Any:
        """What the call returns or raises. Cancelled before its thread began it raises `Unstarted`; after that it
        waits on, until `close`: then it raises `Abandoned`."""
        if self._closed:
            raise Unstarted("the threads are closed")
        ended, loop = asyncio.Event(), asyncio.get_running_loop()
        piece.future.add_done_callback(lambda _: _wake(loop, ended))
        self._waiting.add(ended)
        self._busy += 1
        try:
            self._put(piece)
            await self._ended(piece, ended)
        finally:
            self._busy -= 1
            self._waiting.discard(ended)
        result = piece.future.result()
        if inspect.isawaitable(result):
            if inspect.iscoroutine(result):
                result.close()
            raise Permanent("the handler returned something to be awaited: declare it `async def`")
        return result

    async def _ended(self, piece: Piece, ended: asyncio.Event) -> None:
        while not piece.future.done():
            try:
                await ended.wait()
            except asyncio.CancelledError as error:
                if piece.future.cancel():
                    raise Unstarted("no thread was free in time; see SYNC_THREADS") from error
                piece.outlives()
            if self._closed and not piece.future.done():
                raise Abandoned("its thread did not end with the process")

    def close(self) -> None:
        """Nothing is waited for any more. Idempotent."""
        if self._closed:
            return
        self._closed = True
        for _ in range(self._started):
            self._queue.put(None)
        for ended in tuple(self._waiting):
            ended.set()

    def _put(self, piece: Piece) -> None:
        if self._started < min(self._busy, self._size):
            self._started += 1
            # A daemon: an endless handler must not keep the process from ending.
            threading.Thread(target=self._work, name=f"handler {self._started}", daemon=True).start()
        self._queue.put(piece)

    def _work(self) -> None:
        while piece := self._queue.get():
            piece.run()


def _wake(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits any more
        loop.call_soon_threadsafe(ended.set)
