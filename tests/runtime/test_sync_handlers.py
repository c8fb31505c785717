"""Handlers that are plain functions: in bounded threads, not acknowledged before they ended, waited for by a drain."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from adapters.clock.manual import ManualClock
from adapters.clock.system import SystemClock
from adapters.ledger.memory import MemoryLedger
from contracts import metrics as metric
from contracts.errors import BadInput, Permanent
from contracts.job import Job, JobState, Progress
from contracts.logging_context import current_work, work
from contracts.message import Contract
from contracts.module import Module, Retry
from contracts.ports import Clock, Log, Metrics
from runtime import asyncapi, descriptor
from runtime.policy.retry import Unstarted
from runtime.tasks import Tasks
from runtime.threads import Abandoned, Piece, Threads
from tests.kit.harness import JobFailed, harness

pytestmark = pytest.mark.anyio

WAIT_S = 10.0


class Order(Contract, frozen=True):
    number: int = 0


class Stop:
    """Something that blocks a thread until a test lets it go on."""

    def __init__(self) -> None:
        self.began = threading.Semaphore(0)
        self.go_on = threading.Event()

    def __call__(self, *_: Any) -> str:
        self.began.release()
        assert self.go_on.wait(WAIT_S)
        return "done"

    async def has_begun(self, times: int = 1) -> None:
        for _ in range(times):
            assert await asyncio.get_running_loop().run_in_executor(None, partial(self.began.acquire, timeout=WAIT_S))


@pytest.fixture
def stop() -> Iterator[Stop]:
    made = Stop()
    yield made
    made.go_on.set()


# The threads.


async def test_a_call_runs_in_a_thread_with_the_context_of_its_caller() -> None:
    threads, main = Threads(2), threading.get_ident()
    with work(job_id="one", correlation_id="origin"):
        ident, known = await threads.run(Piece(lambda: (threading.get_ident(), current_work())))
    assert ident != main
    assert (known.job_id, known.correlation_id) == ("one", "origin")
    with pytest.raises(BadInput, match="no"):
        await threads.run(Piece(partial(raise_it, BadInput("no"))))
    threads.close()


def raise_it(error: BaseException) -> None:
    raise error


async def test_no_more_run_at_once_than_there_are_threads(stop: Stop) -> None:
    threads, tasks = Threads(3), Tasks()
    running = [tasks.start(threads.run(Piece(stop)), name=str(number)) for number in range(10)]
    await stop.has_begun(3)
    assert not stop.began.acquire(timeout=0.1), "a fourth has begun"
    assert len([one for one in threading.enumerate() if one.name.startswith("handler")]) == 3
    stop.go_on.set()
    assert await asyncio.gather(*running) == ["done"] * 10
    threads.close()


async def test_a_thread_is_used_again() -> None:
    threads = Threads(8)
    idents = {await threads.run(Piece(threading.get_ident)) for _ in range(20)}
    assert len(idents) == 1
    threads.close()


async def test_what_has_begun_is_waited_for_however_often_it_is_cancelled(stop: Stop) -> None:
    threads, told = Threads(1), list[Piece]()
    task = Tasks().start(threads.run(Piece(stop, outlived=told.append)), name="handler")
    await stop.has_begun()
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)  # noqa: TID251 - a turn of the loop
    assert not task.done()
    assert len(told) == 1, "that it can't be ended is told once"
    stop.go_on.set()
    assert await task == "done"
    threads.close()


async def test_what_has_not_begun_never_does_when_it_is_cancelled(stop: Stop) -> None:
    threads, tasks, ran = Threads(1), Tasks(), []
    first = tasks.start(threads.run(Piece(stop)), name="first")
    await stop.has_begun()
    second = tasks.start(threads.run(Piece(lambda: ran.append(1))), name="second")
    await asyncio.sleep(0)  # noqa: TID251 - a turn of the loop
    second.cancel()
    with pytest.raises(Unstarted):
        await second
    stop.go_on.set()
    await first
    assert await threads.run(Piece(lambda: 7)) == 7
    assert ran == []
    threads.close()


async def test_closing_gives_up_what_runs_and_takes_nothing_more(stop: Stop) -> None:
    threads = Threads(1)
    task = Tasks().start(threads.run(Piece(stop)), name="handler")
    await stop.has_begun()
    threads.close()
    threads.close()
    with pytest.raises(Abandoned):
        await task
    with pytest.raises(Unstarted):
        await threads.run(Piece(lambda: 7))
    assert all(one.daemon for one in threading.enumerate() if one.name.startswith("handler"))


async def test_a_plain_function_that_returns_something_to_await_is_told() -> None:
    async def forgotten() -> None: ...

    threads = Threads(1)
    with pytest.raises(Permanent, match="declare it `async def`"):
        await threads.run(Piece(forgotten))
    threads.close()


# Handlers.


class Shop:
    """A module of plain functions; `act` is what they do with a number."""

    def __init__(self, *, timeout_s: float = 30.0, attempts: int = 1, stall_s: float | None = None) -> None:
        self.module = Module("shop", kind="service", summary="A shop.")
        self.act: Callable[[int], Any] = lambda number: number
        self.done: list[int] = []
        retry = Retry(attempts=attempts, first_s=0.01, max_s=0.01)

        @self.module.stream("orders.raw", Order, retry=retry, partitions=1, timeout_s=timeout_s)
        def take(order: Order, log: Log, metrics: Metrics, clock: Clock) -> None:
            """Take an order."""
            log.info("taking", number=order.number)
            self.act(order.number)
            self.done.append(order.number)

        @self.module.job("run.count", Order, retry=retry, timeout_s=timeout_s, stall_s=stall_s)
        def count(order: Order, job: Job) -> dict[str, int]:
            job.progress(Progress(rows=1, message=f"attempt {job.attempt}, stopping: {job.stopping}"))
            return {"number": self.act(order.number)}


async def test_messages_and_jobs_are_handled_by_plain_functions() -> None:
    shop = Shop()
    async with harness(shop.module) as running:
        await running.publish("orders.raw", *[Order(number=number) for number in range(50)], correlation_id="origin")
        await running.settled()
        row = await running.ended(await running.start("run.count", Order(number=7)))
        lines = [line for line in running.lines() if line["message"] == "taking"]
        document = asyncapi.specification(running.bus.broker).to_specification().to_json()
    assert sorted(shop.done) == list(range(50))
    assert (row.state, row.result, row.progress) == (
        JobState.DONE,
        {"number": 7},
        Progress(rows=1, message="attempt 1, stopping: False"),
    )
    assert {(line["correlation_id"], line["module"]) for line in lines} == {("origin", "shop")}
    assert '"orders.raw' in document
    assert "Order" in document
    routes = descriptor.describe(shop.module).routes
    assert [route.address for route in routes] == ["orders.raw", "run.count"]


async def test_their_errors_are_judged_as_those_of_any_other() -> None:
    shop = Shop(attempts=2)
    tried: list[int] = []

    def act(number: int) -> int:
        tried.append(number)
        raise BadInput("never") if number == 1 else RuntimeError("not now")

    shop.act = act
    async with harness(shop.module) as running:
        await running.publish("orders.raw", Order(number=1), Order(number=2))
        await running.settled()
        letters = await running.dead_letters()
        with pytest.raises(JobFailed, match="not now") as failed:
            await running.job("run.count", Order(number=3))
    assert {letter.reason for letter in letters} == {"permanent", "failed 2 times"}
    assert sorted(tried) == [1, 2, 2, 3, 3]
    assert "in act" in (failed.value.row.traceback or "")


async def test_a_checkpoint_is_refused_with_the_remedy() -> None:
    module = Module("shop", kind="job", summary="A shop.")

    @module.job("run.count", Order)
    def count(order: Order, job: Job) -> None:
        job.checkpoint(1)  # type: ignore[unused-coroutine]

    async with harness(module) as running:
        with pytest.raises(JobFailed, match="declare this one `async def`"):
            await running.job("run.count", Order())


async def test_one_that_is_late_is_waited_for_and_what_it_comes_to_counts(stop: Stop) -> None:
    """It has done its work: to call that a failure would only do it a second time."""
    shop = Shop(timeout_s=0.05)
    shop.act = stop
    async with harness(shop.module) as running:
        await running.publish("orders.raw", Order(number=1))
        await stop.has_begun()
        await running.until(lambda: any("can't be ended" in line["message"] for line in running.lines()))
        assert running.bus.log.stats("orders.raw").messages == 1, "it is not acknowledged"  # type: ignore[attr-defined]
        stop.go_on.set()
        await running.settled()
        assert await running.dead_letters() == []
        [line] = [line for line in running.lines() if "can't be ended" in line["message"]]
    assert "in __call__" in line["context"]["stack"]
    assert shop.done == [1]


async def test_waiting_for_a_thread_uses_up_no_attempt(stop: Stop) -> None:
    shop, calls = Shop(timeout_s=0.1), []

    def act(number: int) -> int:
        calls.append(number)
        if len(calls) == 1:
            stop()
        return number

    shop.act = act
    async with harness(shop.module, sync_threads=1) as running:
        await running.publish("orders.raw", Order(number=1), Order(number=2))
        await stop.has_begun()
        await running.until(
            lambda: running.metrics.value(metric.MESSAGES_PROCESSED, address="orders.raw", outcome="release") > 0
        )
        stop.go_on.set()
        await running.settled()
        assert await running.dead_letters() == []
    assert sorted(shop.done) == [1, 2]


async def test_one_that_makes_no_progress_is_told_with_the_stack_of_its_thread(stop: Stop) -> None:
    shop = Shop(stall_s=0.1)
    shop.act = stop
    async with harness(shop.module) as running:
        job_id = await running.start("run.count", Order())
        await stop.has_begun()
        await running.until(lambda: running.metrics.value(metric.HANDLER_STALLS, address="run.count") > 0)
        stop.go_on.set()
        row = await running.ended(job_id)
        [line, *_] = [line for line in running.lines() if line["message"] == "a handler makes no progress"]
    assert "in __call__" in line["context"]["stack"]
    assert line["job_id"] == job_id
    assert row.state is JobState.DONE, "it can't be cut: what it came to is its outcome"


# The drain.


async def test_a_drain_waits_for_threads(stop: Stop) -> None:
    shop = Shop()
    shop.act = stop
    async with harness(shop.module) as running:
        await running.publish("orders.raw", Order(number=1), id="message")
        job_id = await running.start("run.count", Order(number=2))
        await stop.has_begun(2)
        stopping = Tasks().start(running.stop(), name="stop")
        await running.until(lambda: any(line["message"] == "draining" for line in running.lines()))
        stop.go_on.set()
        report = await stopping
    assert (report.clean, report.fates) == (True, {"message": "finished", job_id: "finished"})


async def test_at_its_end_a_drain_gives_up_says_so_and_acknowledges_nothing(stop: Stop) -> None:
    shop, clock = Shop(), SystemClock()
    shop.act = stop
    ledger = MemoryLedger(clock)
    async with harness(shop.module, clock=clock, ledger=ledger, drain_timeout_s=0.1) as running:
        await running.publish("orders.raw", Order(number=1), id="message")
        job_id = await running.start("run.count", Order(number=2))
        await stop.has_begun(2)
        report = await running.stop()
        assert report.fates == {"message": "abandoned", job_id: "abandoned"}
        assert not report.clean
        row = await ledger.desk.get(job_id)
        assert row is not None
        assert row.state is not JobState.DONE
        assert running.bus.log.stats("orders.raw").messages == 1, "it is not acknowledged"  # type: ignore[attr-defined]
        stop.go_on.set()


async def test_a_manual_clock_is_no_hindrance(clock: ManualClock) -> None:
    shop = Shop()
    async with harness(shop.module, clock=clock) as running:
        await running.publish("orders.raw", Order(number=1))
        await running.settled()
    assert shop.done == [1]
