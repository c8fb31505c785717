from __future__ import annotations

import asyncio

import pytest

from adapters.bus.owned import OwnedTasks

pytestmark = pytest.mark.anyio


async def test_closing_cancels_and_awaits_the_clean_up() -> None:
    tasks, notes, began = OwnedTasks("owner"), [], asyncio.Event()

    async def work() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.get_running_loop().run_in_executor(None, lambda: None)
            notes.append("clean")

    tasks.start(work(), "work")
    await began.wait()
    await tasks.close()
    await tasks.close()
    assert notes == ["clean"]


async def test_finished_waits_for_the_tasks_that_tasks_start() -> None:
    tasks, notes = OwnedTasks("owner"), []

    async def second() -> None:
        notes.append("second")

    async def first() -> None:
        notes.append("first")
        tasks.start(second(), "second")

    tasks.start(first(), "first")
    await tasks.finished()
    assert notes == ["first", "second"]


async def test_a_task_may_close_its_owner() -> None:
    tasks, closed = OwnedTasks("owner"), asyncio.Event()

    async def work() -> None:
        await tasks.close()
        closed.set()

    tasks.start(work(), "work")
    await closed.wait()


async def test_a_failure_is_logged_with_its_owner_and_spares_the_others(caplog: pytest.LogCaptureFixture) -> None:
    tasks, go_on, notes = OwnedTasks("route orders"), asyncio.Event(), []

    async def fail() -> None:
        raise ValueError("broken")

    async def work() -> None:
        await go_on.wait()
        notes.append("done")

    tasks.start(work(), "work")
    with pytest.raises(ValueError, match="broken"):
        await tasks.start(fail(), "fetch")
    go_on.set()
    await tasks.finished()
    assert notes == ["done"]
    assert "route orders: fetch failed" in caplog.text
    assert tasks.fault == "route orders: fetch failed: ValueError: broken"


async def test_a_task_that_nobody_ended_is_missed(caplog: pytest.LogCaptureFixture) -> None:
    tasks, waited_for = OwnedTasks("route orders"), asyncio.get_running_loop().create_future()

    async def fetch() -> None:
        await waited_for

    tasks.start(fetch(), "fetch")
    waited_for.cancel()
    await tasks.finished()
    assert "route orders: fetch ended: something that it waited for was cancelled" in caplog.text
    assert tasks.fault
    ended = OwnedTasks("route clicks")
    ended.start(asyncio.Event().wait(), "fetch")
    await ended.close()
    assert (ended.fault, "clicks" in caplog.text) == ("", False), "that one was asked to end"
