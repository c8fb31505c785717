"""A handler that makes no progress is told with its stack and cut as a failure; one that makes any is left alone."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest

from adapters.clock.manual import ManualClock
from adapters.log.structured import make_log
from adapters.metrics.memory import MemoryMetrics
from contracts import metrics as metric
from contracts.errors import Transient
from contracts.job import Job, JobState, Progress
from contracts.logging_context import work as about
from contracts.message import Contract
from contracts.module import Module, Retry
from contracts.ports import Clock
from runtime import stacks
from runtime.liveness import Liveness, note_progress
from runtime.tasks import Tasks
from tests.kit.harness import JobFailed, harness

pytestmark = pytest.mark.anyio


class World:
    """Liveness on a clock that a test turns."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.text = io.StringIO()
        self.metrics = MemoryMetrics()
        self.liveness = Liveness(clock, make_log(clock=clock, stream=self.text, format="json"), self.metrics)
        self.liveness.declare(10.0)
        self.tasks = Tasks()

    def watch(self, handler: Awaitable[Any]) -> asyncio.Task[Any]:
        coroutine: Any = handler
        return self.tasks.start(self.liveness.watch(coroutine, address="run.x", stall_s=10.0), name="handler")

    def lines(self) -> list[dict[str, Any]]:
        return [msgspec.json.decode(line) for line in self.text.getvalue().splitlines()]


@pytest.fixture
async def world(clock: ManualClock) -> AsyncIterator[World]:
    made = World(clock)
    made.tasks.start(made.liveness.run(), name="liveness")
    await clock.advance(0)
    yield made
    await made.tasks.stop()


async def innermost() -> None:
    await asyncio.Event().wait()


async def outer(wait: Callable[[], Awaitable[None]]) -> None:
    await wait()


async def test_what_stands_still_is_told_with_its_stack_and_fails(world: World, clock: ManualClock) -> None:
    with about(job_id="one", module="mod", correlation_id="origin"):
        task = world.watch(outer(innermost))
    await clock.advance(9.9)
    assert world.lines() == []
    await clock.advance(5.1)
    with pytest.raises(Transient, match="no progress for 10 s"):
        await task
    [line] = world.lines()
    assert (line["message"], line["level"]) == ("a handler makes no progress", "ERROR")
    assert (line["job_id"], line["module"], line["correlation_id"]) == ("one", "mod", "origin")
    stack = line["context"]["stack"]
    assert stack.index("in outer") < stack.index("in innermost") < stack.index("in wait")
    assert "waits for Future" in stack
    assert world.metrics.value(metric.HANDLER_STALLS, address="run.x") == 1


async def test_an_await_that_comes_back_is_progress(world: World, clock: ManualClock) -> None:
    async def steady() -> str:
        for _ in range(20):
            await clock.sleep(7.0)
        return "done"

    task = world.watch(steady())
    await clock.advance(140.0)
    assert await task == "done"
    assert world.lines() == []


async def test_what_tasks_of_the_handler_say_is_progress(world: World, clock: ManualClock) -> None:
    async def child() -> None:
        for _ in range(20):
            await clock.sleep(7.0)
            note_progress()

    async def parent() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(child())

    task = world.watch(parent())
    await clock.advance(140.0)
    await task
    assert world.lines() == []


async def test_what_threads_of_the_handler_say_is_progress(world: World) -> None:
    asked, answered = asyncio.Event(), asyncio.Event()

    async def child() -> None:
        await asked.wait()
        await asyncio.to_thread(note_progress)
        answered.set()

    async def parent() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(child())

    task = world.watch(parent())
    await world.clock.advance(0)
    [watched] = world.liveness._watched
    before = watched.moves
    asked.set()
    await answered.wait()
    assert watched.moves == before + 1
    await task


async def test_a_handler_may_clean_up_after_it_was_cut(world: World, clock: ManualClock) -> None:
    notes = []

    async def careful() -> None:
        try:
            await innermost()
        finally:
            await clock.sleep(5.0)
            notes.append("clean")

    task = world.watch(careful())
    await clock.advance(30.0)
    with pytest.raises(Transient):
        await task
    assert notes == ["clean"]
    assert len(world.lines()) == 1


async def test_one_that_will_not_end_is_told_and_cut_again(world: World, clock: ManualClock) -> None:
    async def stubborn() -> None:
        for _ in range(3):
            try:
                await innermost()
            except asyncio.CancelledError:
                continue

    task = world.watch(stubborn())
    await clock.advance(60.0)
    await task
    assert task.cancelling() == 0, "what was asked for here is taken back: the task goes on with other work"
    assert len(world.lines()) == 3


async def test_a_cancellation_by_others_stays_one(world: World, clock: ManualClock) -> None:
    task = world.watch(innermost())
    await clock.advance(1.0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    both = world.watch(innermost())
    await clock.advance(0)
    both.add_done_callback(lambda _: None)
    for watched in world.liveness._watched:
        world.liveness._report(watched)
    both.cancel()
    with pytest.raises(asyncio.CancelledError):
        await both


async def test_nothing_is_watched_that_has_ended(world: World, clock: ManualClock) -> None:
    async def short() -> int:
        return 7

    assert await world.watch(short()) == 7
    await clock.advance(60.0)
    assert world.lines() == []
    assert clock.next_due_s() is None, "the loop sleeps while nothing is watched"


async def test_a_stack_goes_through_the_tasks_that_are_waited_for() -> None:
    tasks = Tasks()

    async def waiting() -> None:
        await tasks.start(innermost(), name="inner")

    task = tasks.start(outer(waiting), name="outer")
    for _ in range(3):
        await asyncio.sleep(0)  # noqa: TID251 - a turn of the loop
    text = stacks.of_coroutine(task.get_coro(), task)
    assert text.index("in waiting") < text.index("in task inner") < text.index("in innermost")
    await tasks.stop()


async def test_the_stack_of_a_thread_is_that_of_now() -> None:
    go_on, began, ident = threading.Event(), threading.Event(), 0

    def busy() -> None:
        nonlocal ident
        ident = threading.get_ident()
        began.set()
        go_on.wait(10)

    thread = threading.Thread(target=busy)
    thread.start()
    began.wait(10)
    text = stacks.of_thread(ident)
    go_on.set()
    thread.join(10)
    assert "in busy" in text
    assert stacks.of_thread(-1) == ""


# In the worker.


class Work(Contract, frozen=True):
    name: str = "x"


async def test_a_job_that_hangs_is_a_failed_attempt(clock: ManualClock) -> None:
    module, began = Module("mod", kind="job", summary="A module."), []

    @module.job("run.hang", Work, stall_s=6.0, retry=Retry(attempts=2, first_s=1.0))
    async def hang(work: Work) -> None:
        began.append(work.name)
        await innermost()

    async with harness(module, clock=clock) as running:
        with pytest.raises(JobFailed, match="no progress for 6 s"):
            await running.job("run.hang", Work())
        assert running.metrics.value(metric.HANDLER_STALLS, address="run.hang") == 2
    assert len(began) == 2


async def test_progress_and_checkpoints_keep_a_job_alive(clock: ManualClock) -> None:
    module = Module("mod", kind="job", summary="A module.")

    @module.job("run.steady", Work, stall_s=6.0, retry=Retry(attempts=1))
    async def steady(work: Work, job: Job, clock: Clock) -> int:
        async def step() -> None:
            for number in range(6):
                await clock.sleep(4.5)
                job.progress(Progress(rows=number))

        async with asyncio.TaskGroup() as group:
            group.create_task(step())
        return 6

    async with harness(module, clock=clock) as running:
        row = await running.ended(await running.start("run.steady", Work()))
    assert (row.state, row.result) == (JobState.DONE, 6)


async def test_a_message_that_hangs_is_buried_after_its_attempts(clock: ManualClock) -> None:
    module = Module("mod", kind="service", summary="A module.")

    @module.stream("in.hang", Work, stall_s=5.0, timeout_s=600.0, partitions=1, retry=Retry(attempts=1))
    async def hang(work: Work) -> None:
        await innermost()

    async with harness(module, clock=clock) as running:
        await running.publish("in.hang", Work())
        await running.settled()
        [letter] = await running.dead_letters()
    assert letter.error.startswith("the handler made no progress for 5 s")
    assert "in innermost" in letter.traceback
