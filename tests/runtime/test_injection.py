"""What handlers ask for is resolved once at start, and all that can't be had is told together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

import pytest

from adapters.clock.manual import ManualClock
from contracts.errors import Faults
from contracts.job import Job
from contracts.message import Contract
from contracts.module import Batch, Module
from contracts.ports import Cache, Catalog, Clock, Db, Emit, Files, Log, Metrics, Secrets
from runtime import injection
from runtime.wiring import PROVIDED
from tests.kit.harness import harness

if TYPE_CHECKING:
    from decimal import Decimal


class Work(Contract, frozen=True):
    name: str = "x"


@pytest.fixture
def module() -> Module:
    return Module("mod", kind="worker", summary="A module.")


def faults_of(*modules: Module, provided: frozenset[str] = PROVIDED) -> list[str]:
    with pytest.raises(Faults) as raised:
        injection.check(modules, provided)
    return raised.value.faults


def test_ports_are_found_by_their_types(module: Module) -> None:
    @module.job("run.x", Work)
    async def run(
        work: Work, job: Job, db: Db, files: Files, cache: Cache, catalog: Catalog, secrets: Secrets,
        metrics: Metrics, clock: Clock, log: Log, emit: Emit,
    ) -> None: ...  # fmt: skip

    needs = injection.check([module], PROVIDED)["mod", "run.x"]
    assert needs.per_process == {name: name for name in ("files", "cache", "catalog", "secrets", "metrics", "clock")}
    assert needs.per_work == {"job": "job", "db": "db", "log": "log", "emit": "emit"}
    assert needs.adapters == {"files", "cache", "catalog", "secrets", "metrics", "clock", "db", "bus"}


def test_a_parameter_may_have_any_name_and_a_default_of_its_own(module: Module) -> None:
    @module.job("run.x", Work)
    async def run(work: Work, storage: Files, *, tries: int = 3) -> None: ...

    assert injection.check([module], PROVIDED)["mod", "run.x"].per_process == {"storage": "files"}


def test_everything_that_is_wrong_is_told_at_once(module: Module) -> None:
    @module.job("run.sync", Work)
    def sync(work: Work, db: Db, log: Log) -> None: ...

    @module.job("run.many", Work)
    async def many(work: Work) -> AsyncIterator[int]:
        yield 1

    @module.job("run.nothing", Work)
    async def nothing() -> None: ...

    @module.job("run.untyped", Work)
    async def untyped(work, thing) -> None: ...  # type: ignore[no-untyped-def]

    @module.job("run.other", Work)
    async def other(work: Work, number: int, listed: list[int]) -> None: ...

    @module.job("run.late", Work)
    async def late(work: Work, amount: Decimal) -> None: ...

    @module.job("run.position", Work)
    async def position(work: Work, files: Files, /) -> None: ...

    @module.on_shutdown
    async def flush(emit: Emit) -> None: ...

    @module.on_shutdown  # type: ignore[type-var]
    def forget() -> None: ...

    @module.tool("tell", Work)
    async def tell(work: Work, job: Job) -> None: ...

    found = faults_of(module)
    for expected in (
        "mod, run.sync: parameter 'db' asks for Db, which has to be awaited; a plain `def` runs in a thread and has "
        "only Catalog, Clock, Flags, Job, Log, Metrics: declare the handler `async def`",
        "mod, run.many: the handler must not `yield`: it is called once, and returns",
        "mod, hook forget: it must be `async def`; only handlers of routes may be plain functions",
        "mod, run.nothing: the handler takes no message; its first parameter must be the contract",
        "mod, run.untyped: parameter 'thing' asks for nothing; it can be one of",
        "mod, run.other: parameter 'number' asks for int; it can be one of Cache, Catalog, Clock, Db",
        "mod, run.other: parameter 'listed' asks for list",
        "mod, run.late: name 'Decimal' is not defined; the annotation must be importable at run time",
        "mod, run.position: parameter 'files' asks for Files by position; ports are given by name: take the / away",
        "mod, hook flush: parameter 'emit' asks for Emit, which only handlers of messages have",
        "mod, tool tell: parameter 'job' asks for Job, which only a job's handler has",
    ):
        assert any(fault.startswith(expected) for fault in found), expected


def test_a_declaration_that_its_contract_does_not_bear_out_is_told(module: Module) -> None:
    @module.job("run.fields", Work, unique=("name", "day"))
    async def fields(work: Work) -> None: ...

    @module.stream("in.job", Work)
    async def of_job(work: Work, job: Job) -> None: ...

    @module.stream("in.key", Work, key="customer")
    async def keyed(work: Work) -> None: ...

    @module.stream("in.single", Work)
    async def single(work: Sequence[Work]) -> None: ...

    @module.stream("in.batch", Work, batch=Batch())
    async def batch(works: Work) -> None: ...

    assert faults_of(module) == [
        "mod, run.fields: unique='day' is no field of Work; there are: name",
        "mod, in.job: parameter 'job' asks for Job, which only a job's handler has",
        "mod, in.key: key='customer' is no field of Work; there are: name",
        "mod, in.single: the first parameter must be annotated Work",
        "mod, in.batch: the first parameter must be annotated Sequence[Work]",
    ]


def test_what_has_no_adapter_is_told_for_routes_and_hooks(module: Module) -> None:
    @module.job("run.x", Work)
    async def run(work: Work, cache: Cache, emit: Emit) -> None: ...

    @module.on_startup
    async def warm(files: Files) -> None: ...

    assert faults_of(module, provided=frozenset({"db"})) == [
        "mod, run.x: there is no adapter for bus",
        "mod, run.x: there is no adapter for cache",
        "mod, hook 1: there is no adapter for files",
    ]


@pytest.mark.anyio
async def test_hooks_are_given_their_ports_in_their_order(module: Module, clock: ManualClock) -> None:
    said: list[str] = []

    @module.on_startup
    async def first(files: Files, log: Log) -> None:
        said.append(f"first {await files.exists('x')}")
        log.info("hello")

    @module.on_startup
    async def second(metrics: Metrics) -> None:
        said.append("second")

    @module.on_shutdown
    async def close_first(cache: Cache) -> None:
        await cache.set("key", b"value")
        said.append("close first")

    @module.on_shutdown
    async def close_second() -> None:
        said.append("close second")

    async with harness(module) as running:
        assert said == ["first False", "second"]
        assert any(line["message"] == "hello" for line in running.lines())
    assert said[2:] == ["close second", "close first"], "in reverse"


@pytest.mark.anyio
async def test_a_failing_start_up_hook_keeps_the_worker_from_starting_and_leaves_nothing_open(
    module: Module,
) -> None:
    @module.on_startup
    async def fail() -> None:
        raise RuntimeError("not today")

    with pytest.raises(RuntimeError, match="not today"):
        async with harness(module):
            raise AssertionError("it has started")
