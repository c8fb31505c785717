"""Bus promises: members of a group share the partitions, and lose nothing as they come and go."""

from __future__ import annotations

import asyncio

import pytest

from contracts.errors import LeaseLost, Unavailable
from contracts.message import Partition
from contracts.ports.bus import Assignment
from tests.conformance.bus_promise import promise
from tests.conformance.bus_recorder import number_of
from tests.conformance.bus_scene import Backing, Recorder, Scene


@promise
async def members_of_a_group_share_the_partitions(backing: Backing) -> None:
    async with Scene(backing) as scene:
        first, second = scene.recorder(commits=True), scene.recorder(commits=True)
        bus = await scene.start(first)
        await scene.all_held(first)
        await scene.start(second)
        await scene.shared(first, second)
        assert not set(first.held) & set(second.held)
        for _ in range(10):
            await scene.publish(bus, 5 * backing.partitions)
        total = 50 * backing.partitions
        await scene.until(lambda: len(first.deliveries) + len(second.deliveries) >= total)
        assert sorted(first.numbers + second.numbers) == list(range(total))
        assert first.numbers
        assert second.numbers


@promise
async def partitions_are_spread_evenly_and_move_little(backing: Backing) -> None:
    async with Scene(backing) as scene:
        one, two, three = recorders = [scene.recorder() for _ in range(3)]
        await scene.start(one)
        await scene.all_held(one)
        bus = await scene.start(two)
        await scene.shared(one, two)
        two_had = set(two.held)
        await scene.start(three)
        await scene.shared(one, two, three)
        assert set(two.held) <= two_had, "what is to leave the one went to the other"
        before = [set(recorder.held) for recorder in (one, three)]
        await bus.close()
        await scene.shared(one, three)
        assert all(had <= set(now.held) for had, now in zip(before, (one, three), strict=True)), (
            "more moved than had to"
        )
        assert not set(one.held) & set(three.held)
        assert not recorders[1].held


@promise
async def a_member_too_many_waits_for_a_partition(backing: Backing) -> None:
    async with Scene(backing) as scene:
        first = scene.recorder()
        bus = await scene.start(first)
        await scene.all_held(first)
        others = [scene.recorder() for _ in range(scene.all_partitions)]
        for recorder in others:
            await scene.start(recorder)
        await scene.shared(first, *others)
        idle = next(recorder for recorder in (first, *others) if not recorder.held)
        if idle is not first:
            await bus.close()
            await scene.until(lambda: bool(idle.held))
            await scene.all_held(*others)


@promise
async def a_partition_that_moves_is_revoked_first_and_gets_a_higher_epoch(backing: Backing) -> None:
    async with Scene(backing) as scene:
        happened: list[tuple[str, str, Partition]] = []
        first, second = scene.recorder(), scene.recorder()
        _note(happened, "first", first)
        _note(happened, "second", second)
        await scene.start(first)
        await scene.all_held(first)
        before = {partition: assignment.epoch for partition, assignment in first.held.items()}
        await scene.start(second)
        await scene.shared(first, second)
        for partition, assignment in second.held.items():
            assert assignment.epoch > before[partition]
            left, came = ("revoked", "first", partition), ("assigned", "second", partition)
            assert happened.index(left) < happened.index(came)


def _note(happened: list[tuple[str, str, Partition]], name: str, recorder: Recorder) -> None:
    async def assigned(assignment: Assignment) -> None:
        happened.append(("assigned", name, assignment.partition))

    async def revoked(assignment: Assignment) -> None:
        happened.append(("revoked", name, assignment.partition))

    recorder.on_assigned, recorder.on_revoked = assigned, revoked


@promise
async def who_takes_over_waits_for_who_lets_go(backing: Backing) -> None:
    async with Scene(backing) as scene:
        first, second = scene.recorder(), scene.recorder()
        letting_go, may_go = asyncio.Event(), asyncio.Event()
        leaving: set[Partition] = set()

        async def finish(assignment: Assignment) -> None:
            leaving.add(assignment.partition)
            letting_go.set()
            await may_go.wait()
            mine = [d.position for d in first.deliveries if d.partition == assignment.partition]
            if mine:
                await assignment.commit(max(mine) + 1)

        first.on_revoked = finish
        bus = await scene.start(first)
        await scene.all_held(first)
        await scene.publish(bus, 10 * backing.partitions)
        await scene.until(lambda: len(first.deliveries) == 10 * backing.partitions)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(scene.start(second))
            await letting_go.wait()
            await backing.quiet()
            assert not leaving & set(second.held)
            may_go.set()
        await scene.shared(first, second)
        await backing.quiet()
        moved = {number_of(d) for d in first.deliveries if d.partition in second.held}
        assert not moved & set(second.numbers), "what was committed while it was revoked came again"


@promise
async def who_leaves_hands_over_what_it_did_not_commit(backing: Backing) -> None:
    async with Scene(backing) as scene:
        leaving, staying = scene.recorder(), scene.recorder()
        bus = await scene.start(leaving)
        await scene.all_held(leaving)
        other = await scene.start(staying)
        await scene.shared(leaving, staying)
        await scene.publish(other, 100)
        await scene.until(lambda: len(set(leaving.numbers) | set(staying.numbers)) == 100)
        unfinished = {number_of(delivery) for delivery in leaving.deliveries if delivery.partition in leaving.held}
        await bus.close()
        assert not leaving.held
        await scene.at_once(lambda: set(staying.numbers) == set(range(100)))
        if other.capabilities.counts_deliveries:
            again = [delivery for delivery in staying.deliveries if number_of(delivery) in unfinished]
            assert min(delivery.deliveries for delivery in again) >= 2


@promise
async def closing_gives_everything_to_others_at_once(backing: Backing) -> None:
    async with Scene(backing) as scene:
        first, second = scene.recorder(), scene.recorder()
        bus = await scene.start(first)
        await scene.all_held(first)
        everything = set(first.held)
        await bus.close()
        await bus.close()
        assert not first.held
        assert everything <= set(first.revocations)
        await scene.start(second)
        await scene.all_held(second, within_s=backing.session_s)


@promise
async def what_one_failed_to_take_and_another_has_is_no_fault(backing: Backing) -> None:
    async with Scene(backing) as scene:
        failing, heir = scene.recorder(), scene.recorder()
        broken, failed = True, set[Partition]()
        every_one_failed = asyncio.Event()

        async def fail(assignment: Assignment) -> None:
            if broken:
                failed.add(assignment.partition)
                if len(failed) == scene.all_partitions:
                    every_one_failed.set()
                raise Unavailable("the ledger", "no route to host")

        failing.on_assigned = fail
        bus = await scene.start(failing)
        await every_one_failed.wait()
        with pytest.raises(Unavailable, match="no route to host"):
            await bus.check()
        await scene.start(heir)
        await scene.until(lambda: len(heir.held) >= scene.all_partitions // 2)
        broken = False
        await backing.let_pass(5)
        await scene.all_held(failing, heir)
        await bus.check()


@promise
async def what_is_committed_while_revoked_counts(backing: Backing) -> None:
    async with Scene(backing) as scene:
        first, second = scene.recorder(), scene.recorder()

        async def finish(assignment: Assignment) -> None:
            mine = [d.position for d in first.deliveries if d.partition == assignment.partition]
            if mine:
                await assignment.commit(max(mine) + 1)

        first.on_revoked = finish
        bus = await scene.start(first)
        await scene.publish(bus, 40, keys=["one"])
        await scene.until(lambda: len(first.deliveries) == 40)
        await bus.close()
        other = await scene.start(second)
        await scene.nothing_more(other, second)
        assert second.numbers == []


@promise
async def an_assignment_that_is_over_refuses(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder, heir = scene.recorder(), scene.recorder()
        bus = await scene.start(recorder)
        await scene.publish(bus, 1, keys=["one"])
        await scene.until(lambda: len(recorder.deliveries) == 1)
        [delivery] = recorder.deliveries
        assignment = recorder.assignment_of(delivery)
        await bus.close()
        with pytest.raises(LeaseLost, match=scene.address):
            await assignment.commit(delivery.position + 1)
        with pytest.raises(LeaseLost, match=scene.address):
            await assignment.release([delivery.position])
        assignment.pause("late")
        assignment.resume("late")
        await scene.start(heir)
        await scene.until(lambda: len(heir.deliveries) == 1)


@promise
async def a_consumer_that_does_not_let_go_is_cut_off(backing: Backing) -> None:
    async with Scene(backing) as scene:
        clinging, heir = scene.recorder(), scene.recorder(commits=True)
        began, cut = asyncio.Event(), asyncio.Event()

        async def cling(_: Assignment) -> None:
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
        for delivery in clinging.deliveries:
            with pytest.raises(LeaseLost):
                await stale[delivery.partition].commit(delivery.position + 1)
