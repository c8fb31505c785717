"""The shared memory ledger, and the database of effects in it, as one process reaches them over a network."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from adapters.ledger import storable
from adapters.ledger.memory import MemoryLedger
from adapters.ledger.memory.tx import MemoryTx
from contracts.errors import LeaseLost
from contracts.job import Claim
from contracts.message import Envelope
from contracts.ports.database import Guard, Tx
from contracts.ports.outbox import Send
from contracts.ports.parking import Parked
from contracts.ports.partitions import Hold, Span
from tests.simulation.process import Process, Remote

LEDGER = "the ledger"


class SimTx:
    """A transaction of the memory ledger in which effects can be executed: they are applied with its end."""

    def __init__(self, inner: MemoryTx, process: Process) -> None:
        self._inner = inner
        self._process = process
        self.stage = inner.stage

    def savepoint(self) -> AbstractAsyncContextManager[None]:
        return self._inner.savepoint()

    async def execute(self, sql: str, *args: Any) -> int:
        await self._process.call(LEDGER, "execute", lambda: self._staged(args))
        return 1

    async def _staged(self, args: tuple[Any, ...]) -> None:
        address, id_ = args
        self._inner.stage(lambda: self._process.world.apply(self._process, address, id_))


async def _nothing() -> None:
    return None


@asynccontextmanager
async def _over_the_network(process: Process, opened: AbstractAsyncContextManager[Tx], step: str) -> AsyncIterator[Tx]:
    """A transaction whose commit can be lost, or its answer."""
    await process.call(LEDGER, f"{step}: begin", _nothing)
    tx: Any = await opened.__aenter__()
    try:
        yield SimTx(tx, process)  # type: ignore[misc]
    except BaseException as error:
        if not await opened.__aexit__(type(error), error, error.__traceback__):
            raise
    else:
        await process.call(LEDGER, f"{step}: commit", lambda: _committed(opened))


async def _committed(opened: AbstractAsyncContextManager[Tx]) -> None:
    await opened.__aexit__(None, None, None)


class SimPartitions(Remote):
    """Implements `Partitions`."""

    def transaction(self, hold: Hold, span: Span, **said: Any) -> AbstractAsyncContextManager[Tx]:
        opened = self._inner.transaction(hold, span, **said)
        return _over_the_network(self._process, opened, "partitions.transaction")


class SimParking(Remote):
    """Implements `Parking`."""

    def transaction(self, parked: Parked, **said: Any) -> AbstractAsyncContextManager[Tx]:
        opened = self._inner.transaction(parked, **said)
        return _over_the_network(self._process, opened, "parking.transaction")


class SimQueue(Remote):
    """Implements `Queue`, with a fence for the database of effects, and checkpoints that commit with them."""

    def guard(self, claim: Claim) -> Guard:
        return Guard(sql="fence", args=(claim,))

    async def checkpoint(self, claim: Claim, state: bytes, *, tx: Any = None) -> None:
        if tx is None:
            await self._process.call(LEDGER, "queue.checkpoint", lambda: self._inner.checkpoint(claim, state))
            return
        kept = storable.json(state, what="the checkpoint").encode()
        books = self._process.world.books

        def keep() -> None:
            books.jobs[claim.id].checkpoint = kept

        tx.stage(keep)


class SimOutbox(Remote):
    """Implements `Outbox`. Who dies while it sends gives the lock of its key range back, as a connection does."""

    async def relay(self, send: Send, *, limit: int = 500) -> int:
        world, process = self._process.world, self._process

        async def sending(envelopes: Sequence[Envelope]) -> None:
            mine = self._inner._sending - {shard for shards in world.relaying.values() for shard in shards}
            world.relaying.setdefault(process.name, set()).update(mine)
            try:
                await send(envelopes)
                await world.sent_by(process)
            finally:
                world.relaying[process.name] -= mine

        sent: int = await process.call(LEDGER, "outbox.relay", lambda: self._inner.relay(sending, limit=limit))
        return sent


class SimLedger:
    """Implements `Ledger` for one process; what it closes is only its own."""

    address = "simulated"

    def __init__(self, shared: MemoryLedger, process: Process) -> None:
        self._process = process
        self._shared = shared
        self.leases = Remote(shared.leases, process, LEDGER, "leases")
        self.queue = SimQueue(shared.queue, process, LEDGER, "queue")
        self.desk = Remote(shared.desk, process, LEDGER, "desk")
        self.partitions = SimPartitions(shared.partitions, process, LEDGER, "partitions")
        self.parking = SimParking(shared.parking, process, LEDGER, "parking")
        self.outbox = SimOutbox(shared.outbox, process, LEDGER, "outbox")
        self.dead_letters = Remote(shared.dead_letters, process, LEDGER, "dead_letters")

    async def open(self) -> None:
        await self.check()

    async def check(self) -> None:
        await self._process.call(LEDGER, "check", _nothing)

    async def close(self) -> None:
        return

    async def identity(self) -> str:
        return await self._shared.identity()


class SimDb:
    """Implements of `Db` what the handlers of jobs use: transactions that the fence of a run guards."""

    address = "simulated"

    def __init__(self, process: Process, guard: Guard | None = None) -> None:
        self._process = process
        self._guard = guard

    def scoped(self, *, name: str, guard: Guard | None) -> SimDb:
        return SimDb(self._process, guard)

    def transaction(self) -> AbstractAsyncContextManager[Tx]:
        return _over_the_network(self._process, self._transaction(), "transaction of a job")

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Tx]:
        tx = MemoryTx()
        yield tx
        if self._guard is not None:
            claim: Claim = self._guard.args[0]
            if self._process.world.books.held(claim) is None:
                raise LeaseLost(f"job {claim.id}: another worker owns it now")
        tx.apply()

    async def open(self) -> None:
        return

    async def check(self) -> None:
        await self._process.call(LEDGER, "check", _nothing)

    async def close(self) -> None:
        return
