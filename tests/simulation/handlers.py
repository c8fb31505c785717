"""The module whose handlers run in the simulation: each message behaves as the plan says."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from functools import cache
from typing import Protocol

from adapters.bus.memory.member import Member
from contracts.job import Job
from contracts.message import Contract
from contracts.module import Batch, Module, Retry
from contracts.ports import Db, Emit
from tests.simulation.plan import ALONE, ORDERS, PINGS, ROWS, STEPS, TAKEN, Variant

APPLY = "apply"
"""What a handler tells its `Db` to execute: the effect of a message, or of a step of a job."""


class Stage(Protocol):
    """What the handlers know of the world around them."""

    def begins(self) -> int:
        """A number for a run, which no other one has."""
        ...

    async def acts(self, id_: str) -> None:
        """Do what the plan says of this message, at this run."""
        ...

    async def acted(self, id_: str) -> None:
        """The same, for what comes after its effects."""
        ...

    def joins(self, member: Member) -> None:
        """A member of a group that is of this process."""
        ...

    def handled(self, address: str, id_: str) -> None:
        """A handler without a transaction has done its work."""
        ...


STAGE: ContextVar[Stage] = ContextVar("stage")


class Order(Contract, frozen=True):
    """A message of any of the streams."""

    id: str
    key: str | None = None


class Taken(Contract, frozen=True):
    """What is emitted for an order."""

    id: str


class RunAlone(Contract, frozen=True):
    """A command, of which one of a key runs at a time."""

    id: str
    key: str | None = None


class RunSteps(Contract, frozen=True):
    """A command."""

    id: str
    steps: int


@cache
def module_of(variant: Variant) -> Module:
    """The same one for the same variant."""
    module = Module("sim", kind="service", summary="What the simulation runs.")
    retry = Retry(attempts=3, first_s=0.3, max_s=1.0)

    async def take(order: Order, db: Db) -> None:
        stage = STAGE.get()
        await stage.acts(order.id)
        await db.execute(APPLY, ORDERS, order.id)
        await stage.acted(order.id)

    async def take_and_tell(order: Order, db: Db, emit: Emit) -> None:
        await take(order, db)
        await emit(TAKEN, Taken(id=order.id), key=order.key)

    module.stream(
        ORDERS,
        Order,
        key="key",
        partitions=2,
        lanes=variant.lanes,
        retry=retry,
        timeout_s=20,
        in_lane_s=variant.in_lane_s,
        dedupe_s=variant.dedupe_s,
    )(take_and_tell if variant.emits else take)

    @module.stream(
        ROWS,
        Order,
        key="key",
        partitions=2,
        lanes=variant.lanes,
        batch=Batch(rows=variant.rows, wait_s=0.2),
        retry=retry,
        timeout_s=20,
        dedupe_s=variant.dedupe_s,
    )
    async def ingest(rows: Sequence[Order], db: Db) -> None:
        stage = STAGE.get()
        for row in rows:
            await stage.acts(row.id)
            await db.execute(APPLY, ROWS, row.id)
        await stage.acted(rows[-1].id)

    @module.stream(
        PINGS,
        Order,
        key="key",
        partitions=2,
        lanes=variant.lanes,
        retry=retry,
        timeout_s=20,
        in_lane_s=variant.in_lane_s,
    )
    async def ping(order: Order) -> None:
        stage = STAGE.get()
        await stage.acts(order.id)
        stage.handled(PINGS, order.id)
        await stage.acted(order.id)

    @module.job(
        STEPS, RunSteps, retry=Retry(attempts=4, first_s=0.3, max_s=1.0), concurrency=2, overrun=variant.overrun
    )
    async def run(cmd: RunSteps, job: Job, db: Db) -> int:
        stage = STAGE.get()
        for step in range(job.saved(int) or 0, cmd.steps):
            await stage.acts(cmd.id)
            async with db.transaction() as tx:
                await tx.execute(APPLY, STEPS, f"{cmd.id} step {step}")
                await job.checkpoint(step + 1, tx=tx)
            await stage.acted(cmd.id)
            await job.checkpoint(step + 1)
        return cmd.steps

    @module.job(ALONE, RunAlone, retry=Retry(attempts=4, first_s=0.3, max_s=1.0), concurrency=2, unique=("key",))
    async def alone(cmd: RunAlone, db: Db) -> None:
        stage = STAGE.get()
        run = stage.begins()
        async with db.transaction() as tx:
            await tx.execute(APPLY, ALONE, f"{cmd.id} begins {run}")
        await stage.acts(cmd.id)
        async with db.transaction() as tx:
            await tx.execute(APPLY, ALONE, f"{cmd.id} ends {run}")
        await stage.acted(cmd.id)

    return module
