"""The link that is in use, and how another one takes its place."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from adapters.database.cassandra.link import Link, connected
from adapters.database.cassandra.place import Limits, Place
from adapters.threads import Threads

CLOSE_TIMEOUT_S = 5.0
THREADS = 3
"""For what blocks in the driver: to connect, to end, to prepare a statement."""


class Line:
    """Made by `opened`, in the loop that uses it."""

    def __init__(self, place: Place, limits: Limits, threads: Threads, made: tuple[Any, Any]) -> None:
        self._place = place
        self._limits = limits
        self._threads = threads
        self._loop = asyncio.get_running_loop()
        self._renewing = False
        self._closed = False
        self.link = self._linked(made)

    @classmethod
    async def opened(cls, place: Place, limits: Limits) -> Line:
        """One attempt. Raises what `connected` does."""
        loop, threads = asyncio.get_running_loop(), Threads(name="cassandra", most=THREADS)
        try:
            made = await threads.run(lambda: connected(place, limits, loop), undo=_shut_down)
        except BaseException:
            threads.close()
            raise
        return cls(place, limits, threads, made)

    def renew(self) -> None:
        """Begin to connect anew, unless that is under way; when it has succeeded, that link is used. The driver finds
        nodes again that were down, but gives up for good one that has refused our password once, say while that was
        exchanged."""
        if self._renewing or self._closed:
            return
        self._renewing = True
        begun = self._threads.submit(lambda: connected(self._place, self._limits, self._loop))
        begun.add_done_callback(self._tell)

    async def close(self) -> None:
        self._closed = True
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._threads.run(self.link.shut_down)
        self._threads.close()

    def _tell(self, begun: Future[tuple[Any, Any]]) -> None:
        """In a thread."""
        try:
            self._loop.call_soon_threadsafe(self._renewed, begun)
        except RuntimeError:  # the loop has ended meanwhile
            if begun.exception() is None:
                _shut_down(begun.result())

    def _renewed(self, begun: Future[tuple[Any, Any]]) -> None:
        self._renewing = False
        if begun.exception() is not None:
            return  # whoever asks next is told, and begins again
        if self._closed:
            _shut_down_aside(begun.result())
            return
        former, self.link = self.link, self._linked(begun.result())
        self._threads.submit(former.shut_down)

    def _linked(self, made: tuple[Any, Any]) -> Link:
        return Link(*made, place=self._place, limits=self._limits, threads=self._threads)


def _shut_down(made: tuple[Any, Any]) -> None:
    made[0].shutdown()


def _shut_down_aside(made: tuple[Any, Any]) -> None:
    """When our own threads have ended already."""
    threads = Threads(name="cassandra", most=1)
    threads.submit(lambda: _shut_down(made))
    threads.close()
