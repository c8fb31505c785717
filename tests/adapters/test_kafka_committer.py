from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from aiokafka.errors import (  # type: ignore[import-untyped]
    IllegalGenerationError,
    KafkaConnectionError,
    RebalanceInProgressError,
)
from aiokafka.structs import TopicPartition  # type: ignore[import-untyped]

from adapters.bus.kafka.committer import Committer
from adapters.bus.turn import next_turn
from adapters.clock.manual import ManualClock
from contracts.errors import LeaseLost, Unavailable
from contracts.message import Partition

pytestmark = pytest.mark.anyio


class Lease:
    """As much of one as a commit looks at."""

    def __init__(self, index: int) -> None:
        self.tp = TopicPartition("orders", index)
        self.partition = Partition("orders", index)
        self.committed = self.committing = 0
        self.note = "note"
        self.over = False

    def lost(self, wish: str) -> LeaseLost:
        return LeaseLost(f"cannot {wish}")

    def owned(self, wish: str) -> None:
        if self.over:
            raise self.lost(wish)


class Cluster:
    """Answers when it is let to."""

    def __init__(self) -> None:
        self.requests: list[dict[int, int]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.error: Exception | None = None
        self.on_request: Callable[[], None] = lambda: None

    async def send(self, offsets: Mapping[TopicPartition, Any]) -> None:
        self.requests.append({tp.partition: offset.offset for tp, offset in offsets.items()})
        assert {offset.metadata for offset in offsets.values()} == {"note"}
        self.on_request()
        await self.may_answer.wait()
        if self.error is not None:
            raise self.error


class World:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.cluster = Cluster()
        self.leases = [Lease(index) for index in range(4)]
        self.committer = Committer(self.clock, self.cluster.send, wait_s=10, lost=self.lose_all)
        self.committer.open_gate()

    def lose_all(self) -> None:
        for lease in self.leases:
            lease.over = True

    async def commit(self, index: int, position: int) -> None:
        await self.committer.commit(self.leases[index], position)  # type: ignore[arg-type]


async def settle() -> None:
    for _ in range(20):
        await next_turn()


async def outcome(commit: Any) -> BaseException | None:
    try:
        await commit
    except (LeaseLost, Unavailable) as error:
        return error
    return None


async def test_commits_of_one_moment_are_one_request() -> None:
    world = World()
    await asyncio.gather(world.commit(0, 5), world.commit(1, 7), world.commit(0, 3), world.commit(2, 1))
    assert world.cluster.requests == [{0: 5, 1: 7, 2: 1}]
    assert [lease.committed for lease in world.leases] == [5, 7, 1, 0]


async def test_who_asks_while_one_is_under_way_is_in_the_next() -> None:
    world = World()
    world.cluster.may_answer.clear()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(world.commit(0, 5))
        await settle()
        tasks.create_task(world.commit(1, 7))
        tasks.create_task(world.commit(2, 8))
        await settle()
        assert world.cluster.requests == [{0: 5}]
        world.cluster.may_answer.set()
    assert world.cluster.requests == [{0: 5}, {1: 7, 2: 8}]


async def test_the_same_again_asks_the_cluster_and_going_back_does_not_go_back() -> None:
    world = World()
    for position in (5, 5, 3):
        await world.commit(0, position)
    assert world.cluster.requests == [{0: 5}, {0: 5}, {0: 5}]


async def test_a_membership_that_is_over_loses_the_lease() -> None:
    world = World()
    world.cluster.error = IllegalGenerationError()
    found = await asyncio.gather(outcome(world.commit(0, 5)), outcome(world.commit(1, 5)))
    assert [type(error) for error in found] == [LeaseLost, LeaseLost]
    assert world.leases[0].committed == 0


@pytest.mark.parametrize("error", [KafkaConnectionError("gone"), RebalanceInProgressError()])
async def test_trouble_leaves_the_lease_and_says_that_nobody_knows(error: Exception) -> None:
    world = World()
    world.cluster.error = error
    with pytest.raises(Unavailable, match="orders partition 0 was not confirmed"):
        await world.commit(0, 5)
    world.cluster.error = None
    await world.commit(0, 5)
    assert world.leases[0].committed == 5


async def test_a_lease_that_ends_while_it_waits_is_refused_and_the_others_are_not() -> None:
    world = World()
    world.cluster.may_answer.clear()
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(outcome(world.commit(0, 5)))
        await settle()
        ending = tasks.create_task(outcome(world.commit(1, 5)))
        staying = tasks.create_task(outcome(world.commit(2, 5)))
        await settle()
        world.leases[1].over = True
        world.cluster.may_answer.set()
    assert (first.result(), staying.result()) == (None, None)
    assert isinstance(ending.result(), LeaseLost)
    assert world.cluster.requests == [{0: 5}, {2: 5}]


async def test_nothing_is_under_way_behind_a_closed_gate_and_all_of_it_is_sent_when_it_opens() -> None:
    world = World()
    world.cluster.may_answer.clear()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(world.commit(0, 5))
        await settle()
        await world.committer.close_gate()
        tasks.create_task(world.commit(1, 7))
        await settle()
        assert world.cluster.requests == [{0: 5}]
        world.cluster.may_answer.set()
        world.committer.open_gate()
    assert world.cluster.requests == [{0: 5}, {0: 5, 1: 7}]


async def test_a_lease_that_is_lost_behind_the_gate_is_never_sent() -> None:
    world = World()
    await world.committer.close_gate()
    async with asyncio.TaskGroup() as tasks:
        lost = tasks.create_task(outcome(world.commit(0, 5)))
        await settle()
        world.leases[0].over = True
        world.committer.open_gate()
    assert isinstance(lost.result(), LeaseLost)
    assert not world.cluster.requests


async def test_a_gate_that_stays_closed_is_waited_for_only_so_long() -> None:
    world = World()
    await world.committer.close_gate()
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(outcome(world.commit(0, 5)))
        await settle()
        await world.clock.advance(10)
    assert isinstance(waiting.result(), Unavailable)
    assert "joined again" in str(waiting.result())
    world.committer.open_gate()
    await settle()
    assert not world.cluster.requests, "nobody waits for it any more"


async def test_who_stops_waiting_leaves_the_others_of_the_round_alone() -> None:
    world = World()
    world.cluster.may_answer.clear()
    async with asyncio.TaskGroup() as tasks:
        leaving = tasks.create_task(world.commit(0, 5))
        staying = tasks.create_task(outcome(world.commit(1, 7)))
        await settle()
        leaving.cancel()
        await settle()
        world.cluster.may_answer.set()
    assert staying.result() is None
    assert world.leases[0].committed == 5, "it was under way"
