"""Leases of workers, on PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

import msgspec

from adapters.database.connection import Connection
from adapters.ledger.postgres.fences import STANDS_STILL_S
from adapters.ledger.postgres.session import STATEMENT_TIMEOUT_S, Session
from adapters.ledger.postgres.statements import named
from adapters.ledger.postgres.wakes import CHANNEL
from contracts.errors import MillraceError, Unavailable
from contracts.ports.ledger import CRASH_CAP, Worker

SQL = named("leases.sql")
_contracts = msgspec.json.Decoder(dict[str, str])
RENEW_TIMEOUT_S = 5.0
"""At most; a short lease has a third of itself."""


class PostgresLeases:
    """Implements `Leases`. Renewing has a connection that nothing else can keep busy."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._line: Connection | None = None
        self._line_open = AsyncExitStack()
        self._renewing = asyncio.Lock()

    async def open(self) -> None:
        await self._connect()

    async def close(self) -> None:
        self._line = None
        await self._line_open.aclose()

    async def join(self, worker: Worker, *, lease_s: float) -> None:
        args = (worker.id, worker.host, worker.pid, list(worker.modules), worker.http, lease_s)
        about = (worker.version, worker.schema, msgspec.json.encode(worker.contracts).decode())
        await self._session.rows(SQL["join"], *args, *about)

    async def renew(self, worker_id: str, *, lease_s: float) -> bool:
        async with self._renewing:
            return await self._renew(worker_id, lease_s)

    async def leave(self, worker_id: str) -> None:
        async def leave(connection: Any) -> None:
            async with connection.transaction():
                await connection.execute(SQL["leave_lock"], worker_id, timeout=STATEMENT_TIMEOUT_S)
                await connection.execute(SQL["leave"], worker_id, CHANNEL, timeout=STATEMENT_TIMEOUT_S)

        await self._session.run(leave)

    async def reap(self) -> list[str]:
        row = await self._session.row(SQL["reap"], CRASH_CAP, CHANNEL)
        await self._session.rows(SQL["end_standing"], STANDS_STILL_S)
        return list(row["reaped"])

    async def workers(self) -> list[Mapping[str, Any]]:
        rows = await self._session.rows(SQL["workers"])
        return [
            {**row, "modules": tuple(row["modules"]), "contracts": _contracts.decode(row["contracts"])} for row in rows
        ]

    async def _renew(self, worker_id: str, lease_s: float) -> bool:
        timeout_s = min(RENEW_TIMEOUT_S, lease_s / 3)
        try:
            return await self._try_renew(worker_id, lease_s, timeout_s)
        except (MillraceError, TimeoutError):
            # The line may have died while it lay idle; a lease is worth one more try on a new one.
            try:
                await self._connect()
                return await self._try_renew(worker_id, lease_s, timeout_s)
            except TimeoutError as error:
                raise Unavailable(self._session.db.address, f"no answer within {timeout_s:g} s") from error

    async def _try_renew(self, worker_id: str, lease_s: float, timeout_s: float) -> bool:
        async with asyncio.timeout(timeout_s):
            if self._line is None or self._line.lost:
                await self._connect()
            assert self._line is not None
            return await self._line.fetch_value(SQL["renew"], worker_id, lease_s) is not None

    async def _connect(self) -> None:
        if self._line is not None:
            self._line.raw.terminate()  # it failed: to part with it properly could take as long again
            self._line = None
        await self._line_open.aclose()
        async with AsyncExitStack() as stack:
            self._line = await stack.enter_async_context(self._session.db.connect(name="millrace lease"))
            self._line_open = stack.pop_all()
