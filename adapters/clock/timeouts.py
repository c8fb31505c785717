"""Timeouts of one length: those that began first end first, so one timer is enough for all of them.

`asyncio.timeout` sets a timer for each block and takes it back again, which costs more than most blocks do.
"""

from __future__ import annotations

import asyncio
from types import TracebackType


class Timeouts:
    """Of `delay_s` seconds, on one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, delay_s: float) -> None:
        self._loop = loop
        self._delay_s = delay_s
        self._ends_at: dict[Timeout, float] = {}
        """In the order in which they began."""
        self._timer: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """No block is in any of them."""
        return not self._ends_at

    def close(self) -> None:
        """Of idle ones: their timer goes."""
        if self._timer is not None:
            self._timer.cancel()

    def begin(self, timeout: Timeout) -> None:
        ends_at = self._ends_at[timeout] = self._loop.time() + self._delay_s
        if self._timer is None:
            self._timer = self._loop.call_at(ends_at, self._expire)

    def end(self, timeout: Timeout) -> None:
        self._ends_at.pop(timeout, None)

    def _expire(self) -> None:
        """The timer was set for one that may have ended meanwhile: it goes on to the oldest of those that have not."""
        self._timer = None
        now = self._loop.time()
        for timeout, ends_at in list(self._ends_at.items()):
            if ends_at > now:
                self._timer = self._loop.call_at(ends_at, self._expire)
                return
            del self._ends_at[timeout]
            timeout.expire()


class Timeout:
    """Raises `TimeoutError` out of its block, as `asyncio.timeout` does: by cancelling the task that is in it."""

    __slots__ = ("_cancelling", "_expired", "_task", "_timeouts")

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._expired = False

    async def __aenter__(self) -> Timeout:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a timeout needs a task whose work it can end; this is not one")
        self._task = task
        self._cancelling = task.cancelling()
        self._timeouts.begin(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timeouts.end(self)
        # Somebody else may have cancelled it as well: then that goes on.
        if self._expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def expire(self) -> None:
        self._expired = True
        self._task.cancel()
