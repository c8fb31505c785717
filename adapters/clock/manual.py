"""Time that moves only when a test says so."""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta

from adapters.clock.ids import IdSource

_START = datetime(2026, 1, 1, tzinfo=UTC)
_QUIET_TURNS = 10
"""Turns of the loop in a row without a new or ended wait after which the woken tasks count as settled."""
_MOST_TURNS = 10_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ManualClock:
    """Starts at `start_at` and stands still until `advance`. Randomness and ids come from `seed`, so a run repeats.

    Waits end in order of their instant, then in the order in which they began; after each one the tasks that it woke
    run until they wait again, before the next one ends. A task that waits for a thread or a socket is not waited for.
    """

    def __init__(self, *, start_at: datetime = _START, seed: int = 0) -> None:
        if start_at.tzinfo is None:
            raise ValueError(f"start_at={start_at!r} has no time zone: give an aware instant, such as one with UTC")
        self._start_at = start_at.astimezone(UTC)
        self._elapsed_s = 0.0
        self._random = random.Random(seed)  # noqa: S311 - it repeats on purpose
        self._ids = IdSource(self._now_ns, self._random.getrandbits)
        self._waits: list[tuple[float, int, Callable[[], None]]] = []
        self._begun = 0
        self._pending: set[int] = set()
        self._changes = 0
        self._changed: asyncio.Event | None = None

    def now(self) -> datetime:
        """Aware UTC."""
        return self._start_at + timedelta(seconds=self._elapsed_s)

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self._elapsed_s

    async def sleep(self, delay_s: float) -> None:
        """Ends when `advance` has passed its instant; with 0 or less it only gives way to other tasks."""
        if delay_s <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()
        wait = self._begin(delay_s, lambda: None if woken.done() else woken.set_result(None))
        try:
            await woken
        finally:
            self._end(wait)

    def timeout(self, delay_s: float) -> AbstractAsyncContextManager[object]:
        """Raises `TimeoutError` out of its block when `advance` has passed its instant."""
        return self._timeout(delay_s)

    @asynccontextmanager
    async def _timeout(self, delay_s: float) -> AsyncIterator[object]:
        async with asyncio.timeout(None if delay_s > 0 else 0) as real:
            if delay_s <= 0:
                yield real
                return
            wait = self._begin(delay_s, lambda: real.reschedule(0))
            try:
                yield real
            finally:
                self._end(wait)

    def random(self) -> float:
        """Uniform in [0, 1), from the seed."""
        return self._random.random()

    def new_id(self) -> str:
        """UUID version 7 from this clock's instant and the seed, as 32 hex digits."""
        return self._ids.next()

    @property
    def waiting(self) -> int:
        """How many sleeps and timeouts have not ended."""
        return len(self._pending)

    def next_due_s(self) -> float | None:
        """Seconds until the earliest wait ends, or None without one: `advance` by it to make one step."""
        self._forget_ended()
        return self._waits[0][0] - self._elapsed_s if self._waits else None

    async def until_waiting(self, count: int = 1) -> None:
        """Returns once at least `count` sleeps and timeouts wait: the signal that a task has come that far."""
        while self.waiting < count:
            if self._changed is None:
                self._changed = asyncio.Event()
            await self._changed.wait()

    async def advance(self, seconds: float) -> None:
        """Move time forward by `seconds`, stopping at each instant at which something waits to end."""
        if seconds < 0:
            raise ValueError(f"advance({seconds}): time only goes forward")
        until = self._elapsed_s + seconds
        await self._settle()
        while True:
            self._forget_ended()
            if not self._waits or self._waits[0][0] > until:
                break
            due, wait, fire = heapq.heappop(self._waits)
            self._elapsed_s = max(self._elapsed_s, due)
            self._pending.discard(wait)
            fire()
            await self._settle()
        self._elapsed_s = until

    async def _settle(self) -> None:
        quiet, seen = 0, self._changes
        for _ in range(_MOST_TURNS):
            await asyncio.sleep(0)
            quiet = quiet + 1 if seen == self._changes else 0
            seen = self._changes
            if quiet >= _QUIET_TURNS:
                return
        raise RuntimeError(f"tasks kept beginning waits for {_MOST_TURNS} turns of the loop without letting time pass")

    def _begin(self, delay_s: float, fire: Callable[[], None]) -> int:
        self._begun += 1
        heapq.heappush(self._waits, (self._elapsed_s + delay_s, self._begun, fire))
        self._pending.add(self._begun)
        self._note_change()
        return self._begun

    def _end(self, wait: int) -> None:
        # A wait that was cut short stays in the heap until it comes to the top: that is cheaper than to look for it.
        self._pending.discard(wait)
        self._note_change()

    def _forget_ended(self) -> None:
        while self._waits and self._waits[0][1] not in self._pending:
            heapq.heappop(self._waits)

    def _note_change(self) -> None:
        self._changes += 1
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    def _now_ns(self) -> int:
        since = self.now() - _EPOCH
        return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1_000
