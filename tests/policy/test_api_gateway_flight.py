"""One does the work, and the others get what came of it."""

from __future__ import annotations

import asyncio

import pytest

from modules.api_gateway.flight import Flight

pytestmark = pytest.mark.anyio


class Work:
    def __init__(self) -> None:
        self.calls = 0
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> int:
        self.calls += 1
        self.begun.set()
        await self.go_on.wait()
        if self.error:
            raise self.error
        return self.calls


async def test_those_who_want_the_same_share_one_load() -> None:
    flight, work = Flight[int](), Work()
    async with asyncio.TaskGroup() as group:
        asking = [group.create_task(flight.of("k", work)) for _ in range(50)]
        await work.begun.wait()
        work.go_on.set()
    assert {task.result() for task in asking} == {1}
    assert await flight.of("k", work) == 2, "what is done is not kept here"


async def test_another_key_does_not_wait() -> None:
    flight, held, other = Flight[int](), Work(), Work()
    other.go_on.set()
    async with asyncio.TaskGroup() as group:
        group.create_task(flight.of("k", held))
        await held.begun.wait()
        assert await flight.of("l", other) == 1
        held.go_on.set()


async def test_when_it_fails_all_are_told() -> None:
    flight, work = Flight[int](), Work()
    work.error = ValueError("no")
    async with asyncio.TaskGroup() as group:
        asking = [group.create_task(_outcome(flight, work)) for _ in range(3)]
        await work.begun.wait()
        work.go_on.set()
    assert [task.result() for task in asking] == ["no"] * 3
    assert work.calls == 1


async def test_when_the_one_who_works_is_called_off_the_next_one_does_it() -> None:
    flight, work = Flight[int](), Work()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(flight.of("k", work))
        await work.begun.wait()
        others = [group.create_task(flight.of("k", work)) for _ in range(3)]
        work.begun.clear()
        first.cancel()
        await work.begun.wait()
        work.go_on.set()
    assert first.cancelled()
    assert {task.result() for task in others} == {2}


async def test_one_who_waits_can_be_called_off_alone() -> None:
    flight, work = Flight[int](), Work()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(flight.of("k", work))
        await work.begun.wait()
        second = group.create_task(flight.of("k", work))
        third = group.create_task(flight.of("k", work))
        await asyncio.wait([second], timeout=0)
        second.cancel()
        work.go_on.set()
    assert (first.result(), third.result(), second.cancelled()) == (1, 1, True)


async def _outcome(flight: Flight[int], work: Work) -> str:
    try:
        return str(await flight.of("k", work))
    except ValueError as error:
        return str(error)
