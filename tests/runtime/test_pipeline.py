"""The way of one message: whatever the handler does, exactly one outcome is settled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import pytest

from adapters.clock.manual import ManualClock
from adapters.metrics.memory import MemoryMetrics
from contracts import metrics as metric
from contracts import outcome
from contracts.errors import BadInput, Undecodable
from contracts.message import Contract
from contracts.module import JobRoute, Module, Retry, StreamRoute
from runtime.jobs.work import JobWork
from runtime.pipeline import Mounted, carry
from runtime.policy.retry import Cut
from runtime.tasks import Tasks

pytestmark = pytest.mark.anyio

Handler = Callable[..., Awaitable[Any]]


class Order(Contract, frozen=True):
    customer: str
    number: int = 0


class Scope:
    """What is made for one piece of work; counts how often each part is asked for."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.ended_with: list[type[BaseException] | None] = []

    async def __aenter__(self) -> Scope:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.ended_with.append(kind)

    def __getattr__(self, name: str) -> str:
        self.made.append(name)
        return f"the {name}"


class Way:
    """One message on its way through a handler; `settled` are the outcomes that it was settled with."""

    def __init__(self, clock: ManualClock, handler: Handler, *, body: bytes = b'{"customer":"c"}') -> None:
        self.clock = clock
        self.metrics = MemoryMetrics()
        self.settled: list[outcome.Outcome] = []
        self.cut: Cut | None = None
        self.admits: outcome.Outcome | None = None
        self.scope = Scope()
        route = JobRoute(
            address="run.x",
            contract=Order,
            handler=handler,
            retry=Retry(attempts=2, first_s=1.0),
            timeout_s=10.0,
            concurrency=1,
            overrun="requeue",
        )
        module = Module("mod", kind="job", summary="A module.")
        self.mounted = Mounted(module, route, {"files": "the files"}, {"db": "db", "job": "job"})
        self.work = JobWork(
            mounted=self.mounted,
            decode=partial(self.mounted.decode, body),
            attempt=1,
            scope=self.scope,
            clock=clock,
            metrics=self.metrics,
            carried=list,
            about=nullcontext,
            admit=lambda: self.admits,
            settle=self._settle,
            cut=lambda: self.cut,
        )

    async def _settle(self, became: outcome.Outcome) -> None:
        self.settled.append(became)

    async def carried(self) -> outcome.Outcome:
        became = await carry(self.work)
        assert self.settled == [became]
        return became


def raising(error: BaseException) -> Handler:
    async def handler(_: Order, **__: Any) -> None:
        raise error

    return handler


async def test_the_handler_gets_the_message_and_all_that_it_asks_for(clock: ManualClock) -> None:
    got: dict[str, Any] = {}

    async def handler(message: Order, **ports: Any) -> int:
        got.update(ports, message=message)
        return 7

    way = Way(clock, handler)
    assert await way.carried() == outcome.Done(7)
    assert got == {"message": Order(customer="c"), "files": "the files", "db": "the db", "job": "the job"}
    assert way.scope.made == ["db", "job"], "and nothing else is made"
    assert len(way.metrics.observations(metric.PROCESSING_DURATION, address="run.x")) == 1


async def test_what_is_not_admitted_is_not_run(clock: ManualClock) -> None:
    way = Way(clock, raising(AssertionError("it ran")))
    way.admits = outcome.Release(reason="not now")
    assert await way.carried() == way.admits


async def test_errors_are_judged_in_one_place(clock: ManualClock) -> None:
    assert isinstance(await Way(clock, raising(RuntimeError("x"))).carried(), outcome.Retry)
    became = await Way(clock, raising(BadInput("x"))).carried()
    assert isinstance(became, outcome.Dead)
    assert became.reason == "permanent"


async def test_what_cannot_be_decoded_never_reaches_the_handler(clock: ManualClock) -> None:
    became = await Way(clock, raising(AssertionError("it ran")), body=b'{"number":"x"}').carried()
    assert isinstance(became, outcome.Dead)
    assert (became.reason, became.traceback) == ("undecodable", "")
    assert "run.x takes Order: customer: missing" in became.error
    assert "number: Expected `int`" in became.error


async def test_a_handler_that_is_late_is_ended(clock: ManualClock) -> None:
    async def handler(_: Order, **__: Any) -> None:
        await clock.sleep(3600)

    way = Way(clock, handler)
    carrying = Tasks().start(way.carried(), name="carry")
    await clock.advance(10.0)
    became = carrying.result()
    assert isinstance(became, outcome.Retry)
    assert became.error == "the handler did not end within 10 s"
    assert "TimeoutError" in became.traceback


async def test_a_time_out_of_the_handlers_own_is_its_own(clock: ManualClock) -> None:
    became = await Way(clock, raising(TimeoutError("the other side is slow"))).carried()
    assert isinstance(became, outcome.Retry)
    assert became.error == "TimeoutError: the other side is slow"


async def test_a_cancellation_means_what_it_was_cut_for(clock: ManualClock) -> None:
    meanings: dict[Cut, type] = {
        "cancelled": outcome.Cancelled,
        "end": outcome.Cancelled,
        "drain": outcome.Release,
        "lease": outcome.Release,
    }
    for why, expected in meanings.items():
        began = asyncio.Event()

        async def handler(_: Order, began: asyncio.Event = began, **__: Any) -> None:
            began.set()
            await asyncio.Event().wait()

        way = Way(clock, handler)
        carrying = Tasks().start(way.carried(), name="carry")
        await began.wait()
        way.cut = why
        carrying.cancel()
        assert isinstance(await carrying, expected), why


async def test_a_cancellation_by_nobody_is_a_failure(clock: ManualClock) -> None:
    # In a task of its own, as all work is: the one that runs tests may have been cancelled before.
    became = await Tasks().start(Way(clock, raising(asyncio.CancelledError())).carried(), name="carry")
    assert isinstance(became, outcome.Retry)
    assert (became.counts, became.error) == (True, "the handler waited for something that was cancelled")


async def test_a_loop_that_ends_releases_what_runs(clock: ManualClock) -> None:
    began = asyncio.Event()

    async def handler(_: Order, **__: Any) -> None:
        began.set()
        await asyncio.Event().wait()

    way = Way(clock, handler)
    carrying = Tasks().start(way.carried(), name="carry")
    await began.wait()
    carrying.cancel()
    assert isinstance(await carrying, outcome.Release)


async def test_a_cut_that_comes_when_the_handler_has_ended_takes_nothing_back(clock: ManualClock) -> None:
    way = Way(clock, raising(RuntimeError("while it was cut")))
    way.cut = "drain"
    assert isinstance(await way.carried(), outcome.Release)

    async def handler(_: Order, **__: Any) -> int:
        way.cut = "drain"
        return 1

    way = Way(clock, handler)
    assert await way.carried() == outcome.Done(1)


async def test_an_exit_is_settled_and_goes_on(clock: ManualClock) -> None:
    way = Way(clock, raising(SystemExit(1)))
    with pytest.raises(SystemExit):
        await carry(way.work)


# Keys.


def stream(key: str | None) -> Mounted:
    route = StreamRoute(
        address="orders.raw",
        contract=Order,
        handler=raising(AssertionError()),
        retry=Retry(),
        timeout_s=1.0,
        lanes=1,
        partitions=1,
        overrun="requeue",
        key=key,
    )
    return Mounted(Module("mod", kind="service", summary="A module."), route, {}, {})


def test_the_key_of_a_message_is_its_field_as_text(clock: ManualClock) -> None:
    body = b'{"customer":"c1","number":7}'
    assert stream("customer").key_of(body) == "c1"
    assert stream("number").key_of(body) == "7"
    assert stream(None).key_of(body) is None
    assert stream("customer").key_of(b"not json") is None
    assert Way(clock, raising(AssertionError())).mounted.key_of(body) is None, "a job has none"


def test_what_is_not_json_is_told_as_that() -> None:
    with pytest.raises(Undecodable, match=r"orders\.raw takes Order: it is not JSON"):
        stream(None).decode(b"\xff")
