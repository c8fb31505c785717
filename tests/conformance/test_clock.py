from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.clock.ids import IdSource
from adapters.clock.manual import ManualClock
from adapters.clock.system import SystemClock
from tests.conformance.clock_suite import exercise_clock

pytestmark = pytest.mark.anyio


async def test_system_clock() -> None:
    async def goes_by_itself(_: float) -> None:
        return None

    await exercise_clock(SystemClock(), goes_by_itself)


async def test_manual_clock() -> None:
    clock = ManualClock()
    await exercise_clock(clock, clock.advance)


async def test_manual_time_stands_still() -> None:
    start_at = datetime(2024, 2, 29, 12, 0, tzinfo=timezone(timedelta(hours=2)))
    clock = ManualClock(start_at=start_at)
    await asyncio.wait_for(_yield_often(), timeout=5)
    assert clock.now() == start_at
    assert clock.now().tzinfo is UTC
    await clock.advance(90)
    assert clock.now() == start_at + timedelta(seconds=90)
    assert clock.monotonic() == 90


async def _yield_often() -> None:
    for _ in range(50):
        await asyncio.get_running_loop().run_in_executor(None, lambda: None)


async def test_manual_clock_wakes_in_order_and_lets_each_run_on() -> None:
    clock = ManualClock()
    seen: list[tuple[str, float]] = []

    async def ticker(name: str, every_s: float, times: int) -> None:
        for _ in range(times):
            await clock.sleep(every_s)
            seen.append((name, clock.monotonic()))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(ticker("a", 2, 3))
        tasks.create_task(ticker("b", 3, 2))
        await clock.advance(6)
    # Both are due at 6; b began that wait at 3, a at 4.
    assert seen == [("a", 2.0), ("b", 3.0), ("a", 4.0), ("b", 6.0), ("a", 6.0)]
    assert clock.waiting == 0


async def test_manual_clock_says_when_a_task_waits() -> None:
    clock = ManualClock()
    async with asyncio.TaskGroup() as tasks:
        sleeper = tasks.create_task(clock.sleep(5))
        await clock.until_waiting(1)
        assert clock.next_due_s() == 5
        sleeper.cancel()
    assert clock.waiting == 0
    assert clock.next_due_s() is None


async def test_manual_clock_refuses_to_go_back_and_naive_starts() -> None:
    with pytest.raises(ValueError, match="only goes forward"):
        await ManualClock().advance(-1)
    with pytest.raises(ValueError, match="no time zone"):
        ManualClock(start_at=datetime(2026, 1, 1))  # noqa: DTZ001


async def test_manual_clock_tells_a_busy_loop_instead_of_hanging() -> None:
    clock = ManualClock()

    async def restless() -> None:
        while True:
            async with clock.timeout(1):
                await clock.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        busy = tasks.create_task(restless())
        with pytest.raises(RuntimeError, match="without letting time pass"):
            await clock.advance(0.5)
        busy.cancel()


def test_a_seed_repeats_itself() -> None:
    one, same, other = ManualClock(seed=7), ManualClock(seed=7), ManualClock(seed=8)
    assert [one.random() for _ in range(5)] == [same.random() for _ in range(5)]
    assert one.new_id() == same.new_id()
    assert one.new_id() != other.new_id()


@settings(max_examples=50)
@given(st.lists(st.integers(min_value=0, max_value=2**60), min_size=2, max_size=50))
def test_ids_rise_even_when_the_clock_goes_back(readings: list[int]) -> None:
    source = IdSource(iter(readings).__next__, lambda _: 0)
    ids = [source.next() for _ in readings]
    assert ids == sorted(set(ids))
