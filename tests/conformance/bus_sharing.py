"""Bus promises: members of a group share partitions, and lose nothing as they come, go and die."""

from __future__ import annotations

import asyncio
import random

import pytest

from contracts.errors import LeaseLost, Unavailable
from contracts.ports.bus import Assignment, Bus
from tests.conformance.bus_promise import promise
from tests.conformance.bus_scene import Backing, Recorder, Scene


@promise
async def members_of_a_group_share_the_partitions(backing: Backing) -> None:
    async with Scene(backing) as scene:
        first, second = scene.recorder(commits=True), scene.recorder(commits=True)
        bus = await scene.start(first)
        await scene.all_held(first)
        await scene.start(second)
        await scene.until(lambda: bool(second.held) and len(first.held) + len(second.held) == backing.partitions)
        await scene.until(lambda: abs(len(first.held) - len(second.held)) <= 1)
        assert not set(first.held) & set(second.held)
        await scene.publish(bus, 200)
        await scene.until(lambda: len(first.deliveries) + len(second.deliveries) >= 200)
        assert sorted(first.numbers + second.numbers) == list(range(200))
        assert first.numbers
        assert second.numbers


@promise
async def a_partition_that_moves_is_revoked_first_and_gets_a_higher_epoch(backing: Backing) -> None:
    async with Scene(backing) as scene:
        order: list[tuple[str, str, int]] = []

        def noting(name: str, recorder: Recorder) -> Recorder:
            async def assigned(assignment: Assignment) -> None:
                order.append(("assigned", name, assignment.partition.index))

            async def revoked(assignment: Assignment) -> None:
                order.append(("revoked", name, assignment.partition.index))

            recorder.on_assigned, recorder.on_revoked = assigned, revoked
            return recorder

        first, second = noting("first", scene.recorder()), noting("second", scene.recorder())
        await scene.start(first)
        await scene.all_held(first)
        before = {partition: assignment.epoch for partition, assignment in first.held.items()}
        await scene.start(second)
        await scene.until(lambda: bool(second.held) and len(first.held) + len(second.held) == backing.partitions)
        for partition, assignment in second.held.items():
            assert assignment.epoch > before[partition]
            index = partition.index
            assert order.index(("revoked", "first", index)) < order.index(("assigned", "second", index))


@promise
async def who_leaves_hands_over_what_it_did_not_commit(backing: Backing) -> None:
    async with Scene(backing) as scene:
        leaving, staying = scene.recorder(), scene.recorder()
        bus = await scene.start(leaving)
        await scene.all_held(leaving)
        other = await scene.start(staying)
        await scene.until(lambda: bool(staying.held) and len(leaving.held) + len(staying.held) == backing.partitions)
        await scene.publish(other, 100)
        await scene.until(lambda: len(set(leaving.numbers) | set(staying.numbers)) == 100)
        unfinished = {number for number, held in _with_holder(leaving) if held}
        await bus.close()
        assert not leaving.held
        await scene.all_held(staying)
        await scene.until(lambda: unfinished <= set(staying.numbers))
        assert set(staying.numbers) == set(range(100))
        if other.capabilities.counts_deliveries:
            again = [d for d, number in zip(staying.deliveries, staying.numbers, strict=True) if number in unfinished]
            assert {delivery.deliveries for delivery in again} == {2}


def _with_holder(recorder: Recorder) -> list[tuple[int, bool]]:
    """Each number that arrived, and whether its partition is still held."""
    arrived = zip(recorder.deliveries, recorder.numbers, strict=True)
    return [(number, delivery.partition in recorder.held) for delivery, number in arrived]


@promise
async def who_crashes_loses_nothing(backing: Backing) -> None:
    async with Scene(backing) as scene:
        doomed, heir = scene.recorder(), scene.recorder()
        bus = await scene.start(doomed)
        await scene.all_held(doomed)
        envelopes = await scene.publish(bus, 100, keys=[f"k{number}" for number in range(25)])
        await scene.until(lambda: len(doomed.deliveries) == 100)
        stale = dict(doomed.held)
        await scene.crash(bus)
        assert not doomed.revocations, "whoever died can't have been asked"
        await scene.start(heir)
        await scene.until(lambda: len(set(heir.numbers)) == 100)
        assert {delivery.envelope.id for delivery in heir.deliveries} == {envelope.id for envelope in envelopes}
        for partition, assignment in stale.items():
            assert heir.held[partition].epoch > assignment.epoch
            with pytest.raises(LeaseLost):
                await assignment.commit(1)


@promise
async def what_is_committed_does_not_come_again(backing: Backing) -> None:
    async with Scene(backing) as scene:
        first = scene.recorder()
        bus = await scene.start(first)
        await scene.publish(bus, 60, keys=["one"])
        await scene.until(lambda: len(first.deliveries) == 60)
        [assignment] = [first.held[partition] for partition in {delivery.partition for delivery in first.deliveries}]
        await assignment.commit(first.deliveries[39].position + 1)
        await assignment.commit(first.deliveries[9].position + 1)  # going back is a no-op
        await bus.close()
        second = scene.recorder()
        await scene.start(second)
        await scene.until(lambda: len(second.deliveries) >= 20)
        await backing.quiet()
        assert second.numbers == list(range(40, 60))


@promise
async def what_is_committed_while_revoked_counts(backing: Backing) -> None:
    async with Scene(backing) as scene:
        first = scene.recorder()

        async def finish(assignment: Assignment) -> None:
            mine = [d.position for d in first.deliveries if d.partition == assignment.partition]
            await assignment.commit(max(mine, default=-1) + 1)

        first.on_revoked = finish
        bus = await scene.start(first)
        await scene.publish(bus, 40)
        await scene.until(lambda: len(first.deliveries) == 40)
        await bus.close()
        second = scene.recorder()
        other = await scene.start(second)
        await scene.publish(other, 1)
        await scene.until(lambda: bool(second.deliveries))
        await backing.quiet()
        assert second.numbers == [40]


@promise
async def a_commit_in_assigned_says_where_to_begin(backing: Backing) -> None:
    async with Scene(backing) as scene:
        first = scene.recorder()
        bus = await scene.start(first)
        await scene.publish(bus, 30, keys=["one"])
        await scene.until(lambda: len(first.deliveries) == 30)
        stored = first.deliveries[20]
        await bus.close()

        async def begin(assignment: Assignment) -> None:
            if assignment.partition == stored.partition:
                await assignment.commit(stored.position)

        second = scene.recorder()
        second.on_assigned = begin
        await scene.start(second)
        await scene.until(lambda: len(second.deliveries) >= 10)
        await backing.quiet()
        assert second.numbers == list(range(20, 30))


@promise
async def an_assignment_that_is_over_refuses(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        await scene.all_held(recorder)
        await scene.publish(bus, 1, keys=["one"])
        await scene.until(lambda: len(recorder.deliveries) == 1)
        [delivery] = recorder.deliveries
        assignment = recorder.held[delivery.partition]
        await bus.close()
        with pytest.raises(LeaseLost, match=scene.address):
            await assignment.commit(delivery.position + 1)
        with pytest.raises(LeaseLost):
            await assignment.release([delivery.position])
        assignment.pause("late")
        assignment.resume("late")
        heir = scene.recorder()
        await scene.start(heir)
        await scene.until(lambda: len(heir.deliveries) == 1)


@promise
async def a_consumer_that_does_not_let_go_is_cut_off(backing: Backing) -> None:
    async with Scene(backing) as scene:
        clinging, heir = scene.recorder(), scene.recorder(commits=True)
        began, cut = asyncio.Event(), asyncio.Event()

        async def cling(assignment: Assignment) -> None:
            began.set()
            try:
                await asyncio.Event().wait()
            finally:
                cut.set()

        clinging.on_revoked = cling
        bus = await scene.start(clinging)
        await scene.all_held(clinging)
        stale = dict(clinging.held)
        await scene.publish(bus, 20)
        await scene.until(lambda: len(clinging.deliveries) == 20)
        async with asyncio.TaskGroup() as tasks:
            closing = tasks.create_task(bus.close())
            await began.wait()
            await backing.let_pass(backing.revoke_wait_s + 1)
            await closing
        assert cut.is_set()
        await scene.start(heir)
        await scene.until(lambda: len(heir.deliveries) == 20)
        for assignment in stale.values():
            with pytest.raises(LeaseLost):
                await assignment.commit(1)


@promise
async def a_partition_whose_consumer_fails_to_take_it_is_offered_again(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        failures = 0
        failed = asyncio.Event()

        async def fail_once(assignment: Assignment) -> None:
            nonlocal failures
            if failures < 1:
                failures += 1
                failed.set()
                raise Unavailable("the ledger", "no route to host")

        recorder.on_assigned = fail_once
        bus = await scene.start(recorder)
        await scene.publish(bus, 40)
        await failed.wait()
        await backing.quiet()
        with pytest.raises(Unavailable, match="no route to host"):
            await bus.check()
        await backing.let_pass(5)
        await scene.until(lambda: len(recorder.deliveries) == 40)
        assert sorted(recorder.numbers) == list(range(40))
        await bus.check()


@promise
async def members_come_go_and_die_and_every_message_is_finished_in_order(backing: Backing) -> None:
    dice = random.Random(20260101)
    keys = [f"k{number}" for number in range(40)]
    async with Scene(backing) as scene:
        publisher = scene.unopened()
        await publisher.open()
        recorders: list[Recorder] = []
        alive: list[Bus] = []
        total = 0
        for _ in range(12):
            if len(alive) < 2 or dice.random() < 0.5:
                recorders.append(scene.recorder(commits=dice.random() < 0.8))
                alive.append(await scene.start(recorders[-1]))
            elif dice.random() < 0.5:
                await alive.pop(dice.randrange(len(alive))).close()
            else:
                await scene.crash(alive.pop(dice.randrange(len(alive))))
            await scene.publish(publisher, 40, keys=keys)
            total += 40
        for bus in alive:
            await bus.close()
        last = scene.recorder(commits=True)
        recorders.append(last)
        await scene.start(last)
        await scene.until(lambda: len({number for each in recorders for number in each.numbers}) == total)
        for recorder in recorders:
            _assert_order_within_each_life(recorder)


def _assert_order_within_each_life(recorder: Recorder) -> None:
    last: dict[tuple[str | None, int], int] = {}
    for delivery, number in zip(recorder.deliveries, recorder.numbers, strict=True):
        if delivery.deliveries == 1:
            lane = (delivery.envelope.key, delivery.partition.index)
            assert last.get(lane, -1) < number, f"{lane} went back"
            last[lane] = number
