"""What a test may do to the memory bus, and what a position that can't be right does to a partition."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from contracts.errors import Conflict, LeaseLost, Unavailable
from contracts.ports.bus import Assignment
from tests.conformance.bus_scene import Scene
from tests.conformance.test_bus_memory import MemoryBacking

pytestmark = pytest.mark.anyio


@pytest.fixture
def backing() -> MemoryBacking:
    return MemoryBacking()


async def test_who_freezes_is_told_of_nothing_until_it_thaws(backing: MemoryBacking) -> None:
    async with Scene(backing) as scene:
        recorder, heir = scene.recorder(), scene.recorder()
        bus = await scene.start(recorder)
        await scene.all_held(recorder)
        stale = list(recorder.held.values())
        await scene.freeze(bus)
        await scene.start(heir)
        await scene.all_held(heir)
        await scene.publish(bus, 10)
        await scene.until(lambda: len(heir.deliveries) == 10)
        assert len(recorder.held) == backing.partitions
        assert not recorder.deliveries
        for assignment in stale:
            with pytest.raises(LeaseLost):
                await assignment.release([0])
        await scene.thaw(bus)
        await scene.shared(recorder, heir)
        assert len(recorder.revocations) == backing.partitions


async def test_who_freezes_while_it_drains_takes_nothing_when_it_thaws(backing: MemoryBacking) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        await scene.all_held(recorder)
        await bus.stop_intake()
        await scene.freeze(bus)
        await scene.thaw(bus)
        await backing.quiet()
        assert not recorder.held
        assert len(recorder.revocations) == backing.partitions


async def test_who_closes_while_it_is_frozen_is_told_all_the_same(backing: MemoryBacking) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        await scene.all_held(recorder)
        await backing.freeze(bus)
        await bus.close()
        assert not recorder.held


async def test_who_freezes_between_two_partitions_is_told_of_each_once(backing: MemoryBacking) -> None:
    async with Scene(backing) as scene:
        taking, leaving = scene.recorder(), scene.recorder()
        began, may_go = asyncio.Event(), asyncio.Event()

        async def never(assignment: Assignment) -> None:
            if assignment.partition.index == 0:
                began.set()
                await asyncio.Event().wait()

        async def slowly(_: Assignment) -> None:
            began.set()
            await may_go.wait()

        taking.on_assigned = never
        bus = await scene.start(taking)
        await scene.until(lambda: len(taking.held) == backing.partitions - 1)
        assert began.is_set()
        await scene.freeze(bus)
        leaving.on_revoked = slowly
        other = await scene.start(leaving)
        await scene.all_held(leaving)
        taking.on_assigned = leaving.on_assigned
        began.clear()
        await scene.thaw(bus)  # the other one begins to let go of some
        assert sorted(partition.index for partition in taking.revocations) == [1, 2, 3], "it never had partition 0"
        await began.wait()
        await scene.freeze(other)
        may_go.set()
        await scene.thaw(other)
        await scene.shared(taking, leaving)
        assert sorted(partition.index for partition in leaving.revocations) == [0, 1, 2, 3]


async def test_an_address_in_use_is_not_dropped(backing: MemoryBacking) -> None:
    async with Scene(backing) as scene:
        bus = await scene.start(scene.recorder())
        with pytest.raises(Conflict, match="in use"):
            backing.log.drop(scene.address)
        await bus.close()
        backing.log.drop(scene.address)
        backing.log.drop("never.used")


async def test_what_waits_for_its_instant_is_dropped_with_its_address(backing: MemoryBacking) -> None:
    async with Scene(backing) as scene:
        publisher = await scene.opened(scene.recorder())
        await publisher.publish(scene.envelope(b"old", not_before=scene.clock.now() + timedelta(seconds=5)))
        backing.log.drop(scene.address)
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        await backing.let_pass(6)
        await scene.publish(bus, 1)
        await scene.until(lambda: bool(recorder.deliveries))
        assert recorder.numbers == [0]
        stats = backing.log.stats(scene.address)
        assert (stats.messages, stats.lag) == (1, {scene.group: 1})


async def test_a_position_beyond_the_end_is_told_and_tried_again(backing: MemoryBacking) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()

        async def too_far_at_first(assignment: Assignment) -> int | None:
            return None if recorder.revocations or assignment.partition.index else 3

        recorder.on_assigned = too_far_at_first
        bus = await scene.start(recorder)
        await scene.until(lambda: len(recorder.revocations) == 1)
        with pytest.raises(Unavailable, match="another making"):
            await bus.check()
        await backing.let_pass(1)
        await scene.all_held(recorder)
        await bus.check()
        await scene.publish(bus, 1)
        await scene.until(lambda: bool(recorder.deliveries))


async def test_who_begins_again_keeps_its_messages_from_being_forgotten(backing: MemoryBacking) -> None:
    async with Scene(backing) as scene:
        first, keeper = scene.recorder(), scene.recorder(group="keeper")
        bus = await scene.start(first, keeper)
        await scene.publish(bus, 10, keys=["one"])
        await scene.until(lambda: len(first.deliveries) == 10 and len(keeper.deliveries) == 10)
        await first.commit_all()
        await bus.close()
        again, keeper = scene.recorder(), scene.recorder(group="keeper")

        async def from_the_beginning(_: Assignment) -> int | None:
            return 0

        again.on_assigned = from_the_beginning
        await scene.start(again, keeper)
        await scene.until(lambda: len(again.deliveries) == 10 and len(keeper.deliveries) == 10)
        await keeper.commit_all()
        assert backing.log.stats(scene.address).messages == 10, "who begins again may want to begin again once more"
        last = again.deliveries[-1]
        await again.assignment_of(last).release([last.position])
        await scene.until(lambda: again.numbers == [*range(10), 9])
        await again.commit_all()
        assert backing.log.stats(scene.address).messages == 0
