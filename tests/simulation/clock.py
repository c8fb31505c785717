"""The Clock port on the simulation's own time."""

from __future__ import annotations

import asyncio
import random
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta

from adapters.clock.ids import IdSource
from tests.simulation.loop import SimLoop

START = datetime(2026, 1, 1, tzinfo=UTC)
START_NS = int(START.timestamp()) * 1_000_000_000


class SimClock:
    """Implements `Clock`: time goes on when everything waits, straight to the next instant at which something ends."""

    def __init__(self, loop: SimLoop, chance: random.Random) -> None:
        self._loop = loop
        self._chance = chance
        self._ids = IdSource(lambda: START_NS + int(loop.time() * 1e9), chance.getrandbits)

    def now(self) -> datetime:
        return START + timedelta(seconds=self._loop.time())

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(max(0.0, delay_s))  # noqa: TID251 - of the simulation's loop

    def timeout(self, delay_s: float) -> AbstractAsyncContextManager[object]:
        return asyncio.timeout(max(0.0, delay_s))

    def random(self) -> float:
        return self._chance.random()

    def new_id(self) -> str:
        return self._ids.next()
