"""The one owner of tasks: none is lost, none is left behind."""

from __future__ import annotations

import asyncio
import gc

import pytest

from runtime.tasks import Tasks

pytestmark = pytest.mark.anyio


async def test_a_task_lives_although_nobody_else_holds_it() -> None:
    tasks, gate, done = Tasks(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await gate.wait()
        done.set()

    tasks.start(work(), name="work")
    await asyncio.sleep(0)  # noqa: TID251 - so that it begins
    gc.collect()
    gate.set()
    async with asyncio.timeout(5):
        await done.wait()


async def test_the_starter_gets_the_result_and_the_error() -> None:
    tasks = Tasks()

    async def good() -> int:
        return 7

    async def bad() -> int:
        raise ValueError("no")

    assert await tasks.start(good(), name="good") == 7
    with pytest.raises(ValueError, match="no"):
        await tasks.start(bad(), name="bad")


async def test_stop_cancels_the_newest_first_and_waits_until_all_have_ended() -> None:
    tasks, ended = Tasks(), []

    async def work(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # noqa: TID251 - an end that takes a turn of the loop
            ended.append(name)

    first = tasks.start(work("first"), name="first")
    tasks.start(work("second"), name="second")
    tasks.start(work("third"), name="third")
    await asyncio.sleep(0)  # noqa: TID251 - so that they begin
    await tasks.stop(first)
    assert ended == ["first"]
    await tasks.stop()
    assert sorted(ended) == ["first", "second", "third"]
    await tasks.stop()


async def test_a_task_that_lost_its_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.tasks.AGAIN_S", 0.001)
    tasks, lost = Tasks(), []

    async def loses_the_first() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            lost.append("one")
        await asyncio.Event().wait()

    task = tasks.start(loses_the_first(), name="loses")
    await asyncio.sleep(0)  # noqa: TID251 - so that it begins
    await tasks.stop(task)
    assert (lost, task.cancelled()) == (["one"], True)
