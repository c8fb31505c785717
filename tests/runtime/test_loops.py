"""Background loops: a crash is told and the loop started again, later each time, within a budget for all of them."""

from __future__ import annotations

import asyncio
import io

import msgspec
import pytest

from adapters.clock.manual import ManualClock
from adapters.log.structured import make_log
from adapters.metrics.memory import MemoryMetrics
from contracts import metrics as metric
from contracts.errors import Unavailable
from runtime.loops import BACKOFF_MAX_S, CRASH_BUDGET, CRASH_WINDOW_S, Loops
from runtime.tasks import Tasks

pytestmark = pytest.mark.anyio


class World:
    """Loops on a clock that a test turns; `starts` are the instants at which `failing` began."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.text = io.StringIO()
        self.exhausted: list[str] = []
        self.tasks = Tasks()
        self.metrics = MemoryMetrics()
        log = make_log(clock=clock, stream=self.text)
        self.loops = Loops(self.tasks, clock, log, self.exhausted.append, metrics=self.metrics)
        self.starts: list[float] = []
        self.error: Exception = RuntimeError("broken")
        self.lasts_s = 0.0

    async def failing(self) -> None:
        self.starts.append(self.clock.monotonic())
        await self.clock.sleep(self.lasts_s)
        raise self.error

    @property
    def waits(self) -> list[float]:
        return [later - earlier for earlier, later in zip(self.starts, self.starts[1:], strict=False)]

    def lines(self) -> list[dict[str, object]]:
        return [msgspec.json.decode(line) for line in self.text.getvalue().splitlines()]


@pytest.fixture
def world(clock: ManualClock) -> World:
    return World(clock)


async def test_a_loop_that_crashes_is_told_and_started_again_later_each_time(world: World, clock: ManualClock) -> None:
    world.loops.start("poll", world.failing)
    await clock.advance(3.0)
    await world.loops.stop()
    assert len(world.starts) >= 4
    for count, wait in enumerate(world.waits, start=1):
        assert 0.05 * 2**count <= wait <= 0.1 * 2**count
    first = world.lines()[0]
    assert (first["message"], first["level"]) == ("loop crashed", "ERROR")
    assert "broken" in str(first["exception"])
    assert world.exhausted == []


async def test_the_wait_is_bounded(world: World, clock: ManualClock) -> None:
    world.error = Unavailable("the database", "it is down")
    world.loops.start("poll", world.failing)
    await clock.advance(300.0)
    await world.loops.stop()
    assert max(world.waits) <= BACKOFF_MAX_S


async def test_crashes_in_a_row_use_up_the_budget_of_all_loops(world: World, clock: ManualClock) -> None:
    world.loops.start("one", world.failing)
    world.loops.start("other", world.failing)
    await clock.advance(CRASH_WINDOW_S)
    assert world.exhausted
    assert len(world.starts) <= CRASH_BUDGET + 1, "both loops together"
    began = len(world.starts)
    await clock.advance(60.0)
    assert len(world.starts) <= began + 1
    await world.loops.stop()


async def test_now_and_then_a_crash_is_within_the_budget(world: World, clock: ManualClock) -> None:
    world.lasts_s = 60.0
    world.loops.start("poll", world.failing)
    await clock.advance(3600.0)
    await world.loops.stop()
    assert world.exhausted == []
    assert len(world.starts) > CRASH_BUDGET * 5
    assert max(world.waits) < 60.5, "a loop that ran well for a while is started again at once"


async def test_a_dependency_that_is_down_is_waited_for_as_long_as_it_takes(world: World, clock: ManualClock) -> None:
    world.error = Unavailable("the database", "it is down")
    world.loops.start("poll", world.failing)
    await clock.advance(3600.0)
    await world.loops.stop()
    assert world.exhausted == []
    assert {line["message"] for line in world.lines()} == {"loop waits for a dependency"}


async def test_a_loop_whose_wait_was_cancelled_by_nobody_is_started_again(world: World, clock: ManualClock) -> None:
    """Else it would be gone without a word."""
    starts = 0

    async def loop() -> None:
        nonlocal starts
        starts += 1
        waited_for = asyncio.get_running_loop().create_future()
        waited_for.cancel()
        await waited_for

    world.loops.start("poll", loop)
    await clock.advance(1.0)
    await world.loops.stop()
    assert starts > 1
    assert world.lines()[0]["message"] == "loop crashed"


async def test_what_a_loops_task_group_leaves_behind_does_not_end_it(world: World, clock: ManualClock) -> None:
    """Up to Python 3.12 its task then looks as if somebody cancelled it."""
    starts = 0

    async def fail() -> None:
        raise ValueError("broken")

    async def loop() -> None:
        nonlocal starts
        starts += 1
        if starts > 1:
            raise asyncio.CancelledError  # by something that it waited for
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())

    world.loops.start("poll", loop)
    await clock.advance(5.0)
    await world.loops.stop()
    assert starts > 2


async def test_what_used_up_the_budget_is_told_and_each_crash_is_counted(world: World, clock: ManualClock) -> None:
    world.loops.start("poll", world.failing)
    await clock.advance(CRASH_WINDOW_S)
    assert world.exhausted == [
        f"poll: {CRASH_BUDGET} crashes within {CRASH_WINDOW_S:g} s (of poll), the last one RuntimeError: broken"
    ]
    assert world.metrics.value(metric.LOOP_CRASHES, loop="poll") == CRASH_BUDGET
    await world.loops.stop()


async def test_a_loop_that_returns_is_over(world: World, clock: ManualClock) -> None:
    runs = 0

    async def once() -> None:
        nonlocal runs
        runs += 1

    world.loops.start("once", once)
    await clock.advance(60.0)
    await world.loops.stop()
    assert runs == 1


async def test_stop_ends_the_newest_first_and_waits_for_their_end(world: World, clock: ManualClock) -> None:
    ended = []

    def made(name: str) -> object:
        async def loop() -> None:
            try:
                await clock.sleep(1e6)
            finally:
                await asyncio.sleep(0)  # noqa: TID251 - an end that takes a turn of the loop
                ended.append(name)

        return loop

    for name in ("first", "second", "third"):
        world.loops.start(name, made(name))  # type: ignore[arg-type]
    await clock.until_waiting(3)
    await world.loops.stop("second")
    assert ended == ["second"]
    await world.loops.stop()
    await world.loops.stop()
    assert ended == ["second", "third", "first"]


async def test_a_name_is_taken_while_its_loop_runs(world: World) -> None:
    world.loops.start("poll", world.failing)
    with pytest.raises(ValueError, match="poll runs already"):
        world.loops.start("poll", world.failing)
    await world.loops.stop()
