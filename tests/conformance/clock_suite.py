"""What every Clock promises."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, timedelta

import pytest

from contracts.ports.clock import Clock

Pass = Callable[[float], Awaitable[None]]
"""Lets that many seconds go by: `advance` of a manual clock, nothing for a clock that goes by itself."""


async def exercise_clock(clock: Clock, let_pass: Pass) -> None:
    """Run every promise of the port against `clock`."""
    _reads_time(clock)
    _makes_ids_that_sort(clock)
    _draws_numbers(clock)
    await _sleeps(clock, let_pass)
    await _cuts_a_block_off(clock, let_pass)
    await _leaves_a_quick_block_alone(clock, let_pass)
    await _lets_a_sleep_be_cancelled(clock, let_pass)


def _reads_time(clock: Clock) -> None:
    assert clock.now().tzinfo is UTC
    first = clock.monotonic()
    assert clock.monotonic() >= first


def _makes_ids_that_sort(clock: Clock) -> None:
    ids = [clock.new_id() for _ in range(5000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)
    for made in (ids[0], ids[-1]):
        assert len(made) == 32
        assert set(made) <= set("0123456789abcdef")
        assert made[12] == "7"
        assert made[16] in "89ab"
    milliseconds = int(ids[0][:12], 16)
    assert abs(milliseconds / 1000 - clock.now().timestamp()) < 10


def _draws_numbers(clock: Clock) -> None:
    drawn = [clock.random() for _ in range(1000)]
    assert all(0 <= number < 1 for number in drawn)
    assert len(set(drawn)) > 900


async def _sleeps(clock: Clock, let_pass: Pass) -> None:
    order: list[str] = []

    async def sleeper(name: str, delay_s: float) -> None:
        await clock.sleep(delay_s)
        order.append(name)

    begun_at, begun = clock.now(), clock.monotonic()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(sleeper("late", 0.04))
        tasks.create_task(sleeper("early", 0.02))
        tasks.create_task(sleeper("at once", 0))
        tasks.create_task(sleeper("long ago", -5))
        await let_pass(0.04)
    assert order == ["at once", "long ago", "early", "late"]
    assert clock.monotonic() - begun >= 0.039
    assert clock.now() - begun_at >= timedelta(seconds=0.03)


async def _cuts_a_block_off(clock: Clock, let_pass: Pass) -> None:
    async def held_up(delay_s: float) -> None:
        with pytest.raises(TimeoutError):
            async with clock.timeout(delay_s):
                await asyncio.Event().wait()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(held_up(0.02))
        tasks.create_task(held_up(0))
        await let_pass(0.02)


async def _leaves_a_quick_block_alone(clock: Clock, let_pass: Pass) -> None:
    async with clock.timeout(0.01):
        done = True
    await let_pass(0.05)
    assert done
    with pytest.raises(KeyError):
        async with clock.timeout(10):
            raise KeyError("an error of the block's own stays as it is")


async def _lets_a_sleep_be_cancelled(clock: Clock, let_pass: Pass) -> None:
    async with asyncio.TaskGroup() as tasks:
        sleeper = tasks.create_task(clock.sleep(3600))
        await let_pass(0.01)
        sleeper.cancel()
    assert sleeper.cancelled()
