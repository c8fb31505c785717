"""Modules of a test's own, as files: for the command line in this process, and for the whole product in others.

`modules` is found like any package, so a directory that stands earlier on the path has its place; nothing in the
product knows of tests.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import modules

STEPS = '''
"""Adds one row for each step, exactly once."""

from __future__ import annotations

from datetime import date as Day
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from contracts.errors import BadInput
from contracts.job import Job, Progress
from contracts.message import Contract
from contracts.module import Module, Retry
from contracts.ports import Clock, Db, Log

module = Module("steps", kind="job", summary="Adds one row for each step, exactly once.")

module.flag("careful", False, "Look twice.")
module.flag("width", 4, "How many side by side.")


class RunSteps(Contract, frozen=True):
    """How many, and how fast."""

    steps: Annotated[int, Meta(ge=0, le=1_000_000, description="How many.")]
    name: Annotated[str, Meta(description="Whose.")] = "nobody"
    day: Annotated[Day | None, Meta(description="The day.")] = None
    step_s: Annotated[float, Meta(ge=0, description="How long each takes.")] = 0.0
    mode: Annotated[Literal["add", "fail", "reject"], Meta(description="What to do.")] = "add"
    tags: Annotated[tuple[str, ...], Meta(description="Words.")] = ()
    dry_run: Annotated[bool, Meta(description="Add nothing.")] = False


class Stepped(msgspec.Struct, frozen=True, kw_only=True):
    steps: int
    tags: tuple[str, ...] = ()
    parts: tuple[dict[str, int], ...] = ()


@module.on_startup
async def prepare(db: Db) -> None:
    async with db.transaction() as tx:
        await tx.execute("select pg_advisory_xact_lock(7)")  # several workers may start at once
        await tx.execute("create table if not exists steps (job text, step int, worker int)")


@module.job("run.steps", RunSteps, retry=Retry(attempts=2, first_s=0.05), timeout_s=600, concurrency=4)
async def run(cmd: RunSteps, job: Job, db: Db, clock: Clock, log: Log) -> Stepped:
    """One transaction for each step, with its checkpoint."""
    if cmd.mode == "fail":
        raise RuntimeError("it was asked to fail")
    if cmd.mode == "reject":
        raise BadInput(["one thing is wrong", "and another"])
    log.info("stepping", steps=cmd.steps)
    for step in range(job.saved(int) or 0, cmd.steps):
        if cmd.step_s:
            await clock.sleep(cmd.step_s)
        async with db.transaction() as tx:
            if not cmd.dry_run:
                sql = "insert into steps select $1, $2, pg_backend_pid()"
                await tx.execute(sql, job.id, step)
            await job.checkpoint(step + 1, tx=tx)
        job.progress(Progress(rows=step + 1, total_rows=cmd.steps, message=f"step {step}"))
        if cmd.step_s:
            await job.checkpoint(step + 1)
    return Stepped(steps=cmd.steps, tags=cmd.tags, parts=({"a": 1}, {"a": 2}))


@module.job("run.alone", RunSteps, unique=("name",), unique_skip=True)
async def alone(cmd: RunSteps, clock: Clock) -> int:
    """One at a time for each name."""
    await clock.sleep(cmd.step_s)
    return cmd.steps


class Echo(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What to say."""

    text: Annotated[str, Meta(description="This.")]
    times: Annotated[int, Meta(ge=1, description="So often.")] = 1
    as_document: Annotated[bool, Meta(description="As it is.")] = False


class Echoed(msgspec.Struct, kw_only=True):
    text: str
    length: int


@module.tool("echo say", Echo)
async def say(asked: Echo) -> list[Echoed] | str:
    """Say something."""
    if asked.as_document:
        return asked.text
    return [Echoed(text=asked.text, length=len(asked.text)) for _ in range(asked.times)]


@module.tool("echo database", Echo)
async def version(asked: Echo, db: Db) -> Echoed:
    """Say something through the database."""
    text = await db.fetch_value("select $1::text", asked.text)
    return Echoed(text=text, length=len(text))
'''

ORDERS = '''
"""Takes orders, and keeps them."""

from __future__ import annotations

from contracts.message import Contract
from contracts.module import Module
from contracts.ports import Db

module = Module("orders", kind="service", summary="Takes orders, and keeps them.")


class Order(Contract, frozen=True):
    """An order of a customer."""

    customer: str
    amount: int


@module.on_startup
async def prepare(db: Db) -> None:
    async with db.transaction() as tx:
        await tx.execute("select pg_advisory_xact_lock(7)")  # several workers may start at once
        await tx.execute("create table if not exists orders (customer text, amount int)")


@module.stream("orders.raw", Order, key="customer")
async def take(order: Order, db: Db) -> None:
    """Keep an order."""
    await db.execute("insert into orders values ($1, $2)", order.customer, order.amount)
'''

BROKEN = "import there_is_no_such_thing\n"


def write(directory: Path, *, broken: bool = False) -> Path:
    """Write them below `directory`, and return what is to be put on the path."""
    place = directory / "on_the_path"
    for name, text in {"steps": STEPS, "orders": ORDERS, **({"broken": BROKEN} if broken else {})}.items():
        (place / "modules" / name).mkdir(parents=True)
        (place / "modules" / name / "__init__.py").write_text(text)
    (place / "modules" / "__init__.py").write_text('"""Modules of a test."""\n')
    return place


@contextmanager
def instead(place: Path) -> Iterator[None]:
    """In this process `modules` are those of `place`, and what was imported of them is forgotten afterwards."""
    path, known = modules.__path__, {name: sys.modules[name] for name in sys.modules if name.startswith("modules.")}
    for name in known:
        del sys.modules[name]
    modules.__path__ = [str(place / "modules")]
    try:
        yield
    finally:
        modules.__path__ = path
        for name in [name for name in sys.modules if name.startswith("modules.")]:
            del sys.modules[name]
        sys.modules.update(known)
