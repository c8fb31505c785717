"""Recording commands, on PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapters.ledger import storable
from adapters.ledger.postgres.arrays import Placed, blocked_within, columns_of, recorded_of
from adapters.ledger.postgres.session import STATEMENT_TIMEOUT_S, Session
from adapters.ledger.postgres.statements import named
from adapters.ledger.postgres.wakes import CHANNEL
from contracts.errors import Unavailable
from contracts.ports.ledger import Recorded

SQL = named("queue.sql")
RECORD_ROUNDS = 5
"""How often the recorders of one `unique_skip` key may come upon each other."""


class Recording:
    """Puts down new jobs; what may start at once is put down as running."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def record(
        self, fresh: Mapping[str, Placed], worker_id: str | None, slots: Mapping[str, int]
    ) -> dict[str, Recorded]:
        """What became of each, by id. One statement, unless a job is to be skipped while its key is active."""
        claimer = (worker_id, list(slots), [max(0, count) for count in slots.values()], CHANNEL)
        repeatable = worker_id is None  # of a claim whose answer was lost nobody would know
        if not any(job.unique_skip for _, job in fresh.values()):
            row = await self._session.row(SQL["record"], *columns_of(fresh), *claimer, repeatable=repeatable)
            return recorded_of(fresh, row)

        async def contend(connection: Any) -> dict[str, Recorded]:
            async with connection.transaction():
                return await self._record_skipping(connection, fresh, claimer)

        return await self._session.run(contend, repeatable=repeatable)

    async def _record_skipping(
        self, connection: Any, fresh: Mapping[str, Placed], claimer: tuple[Any, ...]
    ) -> dict[str, Recorded]:
        """Each round has a new look at the keys: one that lost its key to another recorder finds the winner."""
        became: dict[str, Recorded] = {}
        left = fresh
        for _ in range(RECORD_ROUNDS):
            keyed = {id_: key for id_, (_, job) in left.items() if (key := storable.key(job.unique_key)) is not None}
            known = await _fetch(connection, SQL["known"], list(keyed))
            rows = await _fetch(connection, SQL["blocked"], list(keyed), list(keyed.values()))
            active = blocked_within(left, known={row["id"] for row in known})
            active |= {row["id"]: row["active_id"] for row in rows if left[row["id"]][1].unique_skip}
            [row] = await _fetch(connection, SQL["record"], *columns_of(left, active), *claimer)
            became |= recorded_of(left, row, active)
            unsure = [id_ for id_ in keyed if fresh[id_][1].unique_skip and became[id_].became == "known"]
            there = {row["id"] for row in await _fetch(connection, SQL["known"], unsure)}
            left = {id_: fresh[id_] for id_ in unsure if id_ not in there}
            if not left:
                return became
        raise Unavailable("the ledger", f"the unique keys of {len(left)} jobs are contended for: record them again")


async def _fetch(connection: Any, sql: str, *args: Any) -> list[Any]:
    rows: list[Any] = await connection.fetch(sql, *args, timeout=STATEMENT_TIMEOUT_S)
    return rows
