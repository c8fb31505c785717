"""The state of partitions, on PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping

from adapters.ledger import storable
from adapters.ledger.postgres.session import Session
from adapters.ledger.postgres.statements import named
from adapters.ledger.refusals import lost
from contracts.ports.database import Tx
from contracts.ports.partitions import Hold

SQL = named("states.sql")


class PostgresStates:
    """Implements `States`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def load(self, hold: Hold) -> Mapping[str, bytes]:
        rows = await self._session.rows(SQL["load"], *_named(hold))
        if not rows:
            raise lost(hold)
        return {row["name"]: row["data"] for row in rows if row["name"] is not None}

    async def save(self, hold: Hold, changes: Mapping[str, bytes | None], *, tx: Tx) -> None:
        storable.pieces(changes)
        gone = [name for name, data in changes.items() if data is None]
        kept = {name: data for name, data in changes.items() if data is not None}
        if await tx.fetch_one(SQL["save"], *_named(hold), gone, list(kept), list(kept.values())) is None:
            raise lost(hold)


def _named(hold: Hold) -> tuple[str, str, int, int]:
    return hold.group, hold.partition.address, hold.partition.index, hold.epoch
