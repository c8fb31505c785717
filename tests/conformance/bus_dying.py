"""Bus promises: members that die, and members that were taken for dead and come back."""

from __future__ import annotations

import asyncio
import random

from contracts.message import Delivery
from contracts.ports.bus import Assignment, Bus
from tests.conformance.bus_promise import promise
from tests.conformance.bus_recorder import in_order_of_key
from tests.conformance.bus_scene import Backing, Recorder, Scene


@promise
async def what_a_dead_member_did_not_commit_comes_again_in_order(backing: Backing) -> None:
    async with Scene(backing) as scene:
        doomed, heir = scene.recorder(), scene.recorder()
        bus = await scene.start(doomed)
        await scene.all_held(doomed)
        keys = [f"k{number}" for number in range(25)]
        envelopes = await scene.publish(bus, 100, keys=keys)
        await scene.until(lambda: len(doomed.deliveries) == 100)
        epochs = {partition: assignment.epoch for partition, assignment in doomed.held.items()}
        await scene.crash(bus)
        assert not doomed.revocations, "whoever died can't have been asked"
        other = await scene.start(heir)
        await scene.all_held(heir)
        await scene.nothing_more(other, heir, keys=keys)
        assert {delivery.envelope.id for delivery in heir.deliveries} == {envelope.id for envelope in envelopes}
        assert len(heir.deliveries) == 100
        assert in_order_of_key(heir.deliveries)
        assert all(heir.held[partition].epoch > epoch for partition, epoch in epochs.items())
        if other.capabilities.counts_deliveries:
            assert min(delivery.deliveries for delivery in heir.deliveries) >= 2


@promise
async def the_next_owner_begins_at_the_commit_of_a_dead_member(backing: Backing) -> None:
    async with Scene(backing) as scene:
        doomed, heir = scene.recorder(), scene.recorder()
        bus = await scene.start(doomed)
        await scene.publish(bus, 60, keys=["one"])
        await scene.until(lambda: len(doomed.deliveries) == 60)
        await doomed.assignment_of(doomed.deliveries[0]).commit(doomed.deliveries[39].position + 1)
        await scene.crash(bus)
        other = await scene.start(heir)
        await scene.nothing_more(other, heir)
        assert heir.numbers == list(range(40, 60))


@promise
async def what_a_dead_member_had_released_is_not_lost(backing: Backing) -> None:
    async with Scene(backing) as scene:
        doomed, heir = scene.recorder(), scene.recorder()
        bus = await scene.start(doomed)
        await scene.publish(bus, 5, keys=["one"])
        await scene.until(lambda: len(doomed.deliveries) == 5)
        assignment = doomed.assignment_of(doomed.deliveries[0])
        await bus.stop_intake()
        await assignment.release([doomed.deliveries[1].position])
        await assignment.commit(doomed.deliveries[0].position + 1)
        await scene.crash(bus)
        other = await scene.start(heir)
        await scene.nothing_more(other, heir)
        assert heir.numbers == [1, 2, 3, 4]


@promise
async def who_was_taken_for_dead_is_refused_when_it_wakes_up(backing: Backing) -> None:
    async with Scene(backing) as scene:
        zombie, heir = scene.recorder(), scene.recorder()
        bus = await scene.start(zombie)
        await scene.all_held(zombie)
        stale = dict(zombie.held)
        await scene.publish(bus, 10, keys=["one"])
        await scene.until(lambda: len(zombie.deliveries) == 10)
        read = zombie.deliveries
        await scene.freeze(bus)
        other = await scene.start(heir)
        await scene.all_held(heir)
        await scene.until(lambda: len(heir.deliveries) == 10)
        await heir.assignment_of(heir.deliveries[0]).commit(heir.deliveries[4].position + 1)
        over = stale[read[0].partition]
        async with asyncio.TaskGroup() as tasks:  # it commits before it can have learned what became of it
            tasks.create_task(scene.refused(over, read[9].position + 1))
            await backing.quiet()
            await scene.thaw(bus)
        await scene.refused(over, read[4].position + 1)
        await scene.until(lambda: set(stale) <= set(zombie.revocations))
        await bus.close()
        await scene.all_held(heir)
        await other.close()
        last = scene.recorder()
        another = await scene.start(last)
        await scene.nothing_more(another, last)
        assert last.numbers == [5, 6, 7, 8, 9], "the zombie's commit counted"


@promise
async def who_was_taken_for_dead_takes_part_again(backing: Backing) -> None:
    async with Scene(backing) as scene:
        zombie, heir = scene.recorder(commits=True), scene.recorder(commits=True)
        bus = await scene.start(zombie)
        await scene.all_held(zombie)
        await scene.freeze(bus)
        other = await scene.start(heir)
        await scene.all_held(heir)
        await scene.thaw(bus)
        await scene.until(lambda: len(zombie.revocations) >= scene.all_partitions)
        await scene.shared(zombie, heir)
        keys = [f"k{number}" for number in range(20)]
        await scene.publish(other, 100, keys=keys)
        await scene.until(lambda: set(zombie.numbers) | set(heir.numbers) == set(range(100)))
        assert zombie.numbers, "it holds partitions and gets nothing of them"


@promise
async def members_come_go_and_die_and_every_message_is_finished_in_order(backing: Backing) -> None:
    dice = random.Random(20260101)
    keys = [f"k{number}" for number in range(40)]
    async with Scene(backing) as scene:
        recorders: list[Recorder] = []
        publisher = await scene.opened(scene.recorder())
        alive: list[Bus] = []
        for _ in range(12):
            if len(alive) < 2 or dice.random() < 0.5:
                recorders.append(scene.recorder(commits=dice.random() < 0.8))
                alive.append(await scene.start(recorders[-1]))
            elif dice.random() < 0.5:
                await alive.pop(dice.randrange(len(alive))).close()
            else:
                await scene.crash(alive.pop(dice.randrange(len(alive))))
            await scene.publish(publisher, 40, keys=keys)
        for bus in alive:
            await bus.close()
        recorders.append(scene.recorder(commits=True))
        await scene.start(recorders[-1])
        await scene.until(lambda: len({number for each in recorders for number in each.numbers}) == 12 * 40)
        for recorder in recorders:
            for assignment in {assignment for assignment, _ in recorder.seen}:
                assert in_order_of_key(_of(recorder, assignment)), "a key went back within an assignment"


def _of(recorder: Recorder, assignment: Assignment) -> list[Delivery]:
    return [delivery for at, delivery in recorder.seen if at is assignment]
