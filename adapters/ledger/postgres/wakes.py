"""Wakes: LISTEN on a connection of its own, made again when it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from adapters.database.connection import Connection
from adapters.database.postgres import PostgresDb
from contracts.errors import MillraceError

CHANNEL = "millrace"
"""Named as the schema is: what may have become claimable is told on one channel a database."""
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
PROBE_S = 30.0
"""A connection that said nothing for this long is asked whether it lives: a cut network is silent."""
PROBE_TIMEOUT_S = 5.0


class Wakes:
    """Any number of listeners; wakes that come while one isn't looking fold into one."""

    def __init__(self, db: PostgresDb, *, channel: str = CHANNEL) -> None:
        self._db = db
        self._channel = channel
        self._closing = asyncio.Event()
        self._closing.set()
        self._signals: set[asyncio.Event] = set()

    def open(self) -> None:
        self._closing.clear()

    def close(self) -> None:
        self._closing.set()
        for signal in self._signals:
            signal.set()

    async def listen(self) -> AsyncIterator[None]:
        """An item as soon as it listens, one after each wake, and one after each repair of the connection."""
        signal = asyncio.Event()
        self._signals.add(signal)
        pause_s = FIRST_PAUSE_S
        try:
            while not self._closing.is_set():
                with suppress(MillraceError, TimeoutError):
                    async with self._db.connect(name="millrace wakes") as connection:
                        connection.on_lost(signal.set)
                        await connection.listen(self._channel, lambda _: signal.set())
                        pause_s = FIRST_PAUSE_S
                        signal.set()
                        while await self._woken(connection, signal):
                            yield
                await self._pause(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
        finally:
            self._signals.discard(signal)

    async def _woken(self, connection: Connection, signal: asyncio.Event) -> bool:
        """False when the connection or the ledger is gone."""
        while not self._closing.is_set() and not connection.lost:
            try:
                # Not `wait_for`: before Python 3.12 it loses a cancellation that comes together with the wake.
                async with asyncio.timeout(PROBE_S):
                    await signal.wait()
            except TimeoutError:
                async with asyncio.timeout(PROBE_TIMEOUT_S):
                    await connection.fetch_value("select 1")
            else:
                signal.clear()
                return not self._closing.is_set() and not connection.lost
        return False

    async def _pause(self, pause_s: float) -> None:
        if not self._closing.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._closing.wait()
