"""Timeouts that share a timer end each on its own, as `asyncio.timeout` would."""

from __future__ import annotations

import asyncio

import pytest

from adapters.clock.system import SystemClock

pytestmark = pytest.mark.anyio

SHORT_S = 0.02


async def for_ever() -> None:
    await asyncio.Event().wait()


async def ends(clock: SystemClock, delay_s: float) -> float:
    """When it was cut off, from now."""
    began = clock.monotonic()
    with pytest.raises(TimeoutError):
        async with clock.timeout(delay_s):
            await for_ever()
    return clock.monotonic() - began


async def test_the_timer_goes_on_to_those_that_are_left() -> None:
    clock = SystemClock()
    async with clock.timeout(SHORT_S):
        pass  # its timer is set, and finds it gone
    took = await asyncio.gather(*(ends(clock, SHORT_S) for _ in range(3)))
    assert min(took) >= SHORT_S * 0.9


async def test_of_two_in_one_another_the_outer_is_left_alone() -> None:
    clock = SystemClock()
    task = asyncio.current_task()
    assert task is not None
    before = task.cancelling()  # tests share a task, and a TaskGroup of Python 3.11 may leave its cancellation behind
    async with clock.timeout(60.0):
        assert await ends(clock, SHORT_S) < 60.0
        async with clock.timeout(60.0):
            pass
    assert task.cancelling() == before, "nothing of the cancellation is left behind"


async def test_who_is_cancelled_from_outside_is_cancelled_and_not_late() -> None:
    clock = SystemClock()
    inside = asyncio.Event()

    async def block() -> None:
        async with clock.timeout(60.0):
            inside.set()
            await for_ever()

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(block())
        await inside.wait()
        task.cancel()
    assert task.cancelled()


async def test_a_block_that_takes_its_end_in_stride_returns_what_it_wants() -> None:
    clock, answer = SystemClock(), ""
    async with clock.timeout(SHORT_S):
        try:
            await for_ever()
        except asyncio.CancelledError:
            answer = "tidied up"
    assert answer == "tidied up"


async def test_however_many_lengths_there_are_each_ends_in_its_time() -> None:
    clock = SystemClock()
    took = await asyncio.gather(*(ends(clock, SHORT_S + number / 10_000) for number in range(200)))
    assert all(took_s >= SHORT_S * 0.9 for took_s in took)
    assert len(clock._timeouts) <= 64
    async with clock.timeout(60.0):
        assert 60.0 in clock._timeouts, "those that nobody uses make room"
