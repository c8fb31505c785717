"""The ledger on PostgreSQL: its parts and their life."""

from __future__ import annotations

from adapters.database.postgres import PostgresDb
from adapters.ledger.postgres.dead_letters import PostgresDeadLetters
from adapters.ledger.postgres.desk import PostgresDesk
from adapters.ledger.postgres.leases import PostgresLeases
from adapters.ledger.postgres.outbox import PostgresOutbox
from adapters.ledger.postgres.parking import PostgresParking
from adapters.ledger.postgres.partitions import PostgresPartitions
from adapters.ledger.postgres.queue import PostgresQueue
from adapters.ledger.postgres.session import Session
from adapters.ledger.postgres.states import PostgresStates
from adapters.ledger.postgres.wakes import Wakes
from contracts.errors import Unavailable


class PostgresLedger:
    """Implements `Ledger` in the database of `db`, which is opened before it and closed after it.

    It keeps up to seven connections of its own, and one for each listener: four for statements, one that renews leases,
    two that wait for the bus while what is in the outbox is sent.
    """

    def __init__(self, db: PostgresDb) -> None:
        self._session = Session(db)
        self._wakes = Wakes(db)
        self._identity: str | None = None
        self.leases = PostgresLeases(self._session)
        self.queue = PostgresQueue(self._session, self._wakes)
        self.desk = PostgresDesk(self._session)
        self.partitions = PostgresPartitions(self._session)
        self.states = PostgresStates(self._session)
        self.outbox = PostgresOutbox(self._session)
        self.parking = PostgresParking(self._session)
        self.dead_letters = PostgresDeadLetters(self._session)

    async def open(self) -> None:
        """Raises `Unavailable`, also when the tables are not there."""
        try:
            await self._session.open()
            await self._require_tables()
            await self.leases.open()
            self._wakes.open()
            self.outbox.open()
        except BaseException:
            await self.close()
            raise

    async def check(self) -> None:
        await self._session.rows("select 1")

    async def close(self) -> None:
        self._wakes.close()
        await self.outbox.close()
        await self.leases.close()
        await self._session.close()

    @property
    def address(self) -> str:
        return f"{self._session.db.address} schema millrace"

    async def identity(self) -> str:
        if self._identity is None:
            row = await self._session.row("select id from millrace.ledger")
            self._identity = str(row["id"])
        return self._identity

    async def _require_tables(self) -> None:
        row = await self._session.row("select to_regclass('millrace.jobs') is not null")
        if not row[0]:
            raise Unavailable(self.address, "its tables are not there: run `millrace migrate up`")
