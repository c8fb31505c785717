"""What the ledger's suite needs of an implementation, and short words for its values."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from contracts.job import Claim, JobRow, NewJob
from contracts.outcome import Done, Outcome
from contracts.ports.ledger import Ledger, Settlement, Worker

ADDRESS = "run.suite"


class World(msgspec.Struct, frozen=True, kw_only=True):
    """A ledger without anything in it; `twin` is the same ledger as another process has it.

    `age(seconds)` lets time pass for what is written down.
    """

    ledger: Ledger
    twin: Ledger
    age: Callable[[float], Awaitable[None]]

    async def join(self, worker_id: str = "w1", *, lease_s: float = 60) -> str:
        await self.ledger.leases.join(Worker(id=worker_id, host="h", pid=1, modules=("m",)), lease_s=lease_s)
        return worker_id

    async def record(self, *ids: str, **fields: Any) -> None:
        await self.ledger.queue.record([job(id_, **fields) for id_ in ids])

    async def claim(self, worker_id: str = "w1", slots: int = 100, *, only: Sequence[str] = ()) -> list[Claim]:
        return await self.ledger.queue.claim(worker_id, {ADDRESS: slots}, only=only)

    async def claim_one(self, worker_id: str = "w1") -> Claim:
        claims = await self.claim(worker_id, 1)
        assert len(claims) == 1
        return claims[0]

    async def started(self, id_: str = "a", **fields: Any) -> Claim:
        """One job, recorded and claimed by a worker that joined."""
        await self.join()
        await self.record(id_, **fields)
        return await self.claim_one()

    async def settle(self, claim: Claim, outcome: Outcome | None = None, **fields: Any) -> bool:
        ended = Settlement(claim=claim, outcome=outcome or Done(), **fields)
        return (await self.ledger.queue.settle([ended]))[0]

    async def row(self, id_: str) -> JobRow:
        row = await self.twin.desk.get(id_)
        assert row is not None
        return row

    async def reaped(self, worker_id: str = "w1") -> list[str]:
        """Its lease runs out and is taken; it joins again under the same id."""
        await self.age(3600)
        taken = await self.twin.leases.reap()
        await self.join(worker_id)
        return taken


Promise = Callable[[World], Awaitable[None]]


def job(id_: str, **fields: Any) -> NewJob:
    return NewJob(**{"id": id_, "address": ADDRESS, "body": b'{"n": 1}', **fields})


def ids(items: Sequence[Any]) -> list[str]:
    return [item.id for item in items]


@asynccontextmanager
async def listening(ledger: Ledger) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """A function that returns at the next wake; nothing that happens inside the block is missed."""
    wakes = ledger.queue.wakeups()
    await anext(wakes)  # it listens now

    async def woken() -> None:
        await anext(wakes)

    try:
        yield woken
    finally:
        await wakes.aclose()  # type: ignore[attr-defined]
