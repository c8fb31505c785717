"""Bus promises: where a partition begins, what is committed, what comes again, and how much is left."""

from __future__ import annotations

import asyncio

import pytest

from contracts.errors import Unavailable
from contracts.message import Delivery
from contracts.ports.bus import Assignment, Bus
from tests.conformance.bus_promise import promise
from tests.conformance.bus_recorder import in_order_of_key, number_of
from tests.conformance.bus_scene import Backing, Recorder, Scene


async def _read(scene: Scene, recorder: Recorder, count: int) -> tuple[Bus, list[Delivery]]:
    """A bus, and `count` messages of one partition that were published on it and have arrived."""
    bus = await scene.start(recorder)
    await scene.publish(bus, count, keys=["one"])
    await scene.until(lambda: len(recorder.deliveries) == count)
    return bus, recorder.deliveries


@promise
async def what_is_committed_does_not_come_again(backing: Backing) -> None:
    async with Scene(backing) as scene:
        first, second = scene.recorder(), scene.recorder()
        bus, read = await _read(scene, first, 60)
        assignment = first.assignment_of(read[0])
        await assignment.commit(read[39].position + 1)
        await assignment.commit(read[39].position + 1)  # saying it again is a question, not a mistake
        await assignment.commit(read[9].position + 1)  # going back is a no-op
        await bus.close()
        other = await scene.start(second)
        await scene.nothing_more(other, second)
        assert second.numbers == list(range(40, 60))


@promise
async def a_consumer_may_begin_further_on(backing: Backing) -> None:
    async with Scene(backing) as scene:
        bus, read = await _read(scene, scene.recorder(), 30)
        await bus.close()
        second = _beginning_at(scene, read[20])
        other = await scene.start(second)
        await scene.nothing_more(other, second)
        assert second.numbers == list(range(20, 30))
        await other.close()
        third = scene.recorder()
        another = await scene.start(third)
        await scene.nothing_more(another, third)
        assert third.numbers == list(range(30)), "where one began is not a commit"


@promise
async def a_consumer_may_begin_before_what_is_committed(backing: Backing) -> None:
    async with Scene(backing) as scene:
        first, keeper = scene.recorder(), scene.recorder(group=f"keeper-{scene.group}")
        bus = await scene.start(first, keeper)  # a bus may forget what all its groups have committed
        await scene.publish(bus, 30, keys=["one"])
        await scene.until(lambda: len(first.deliveries) == 30)
        await first.commit_all()
        await bus.close()
        second = _beginning_at(scene, first.deliveries[10])
        other = await scene.start(second)
        await scene.nothing_more(other, second)
        assert second.numbers == list(range(10, 30))
        await second.commit_all()
        await other.close()
        third = scene.recorder()
        another = await scene.start(third)
        await scene.nothing_more(another, third)
        assert third.numbers == [], "what is committed has gone back"


@promise
async def a_consumer_may_begin_between_two_messages(backing: Backing) -> None:
    async with Scene(backing) as scene:
        bus, read = await _read(scene, scene.recorder(), 5)
        await bus.close()
        second = _beginning_at(scene, read[2], further=1)
        other = await scene.start(second)
        await scene.nothing_more(other, second)
        assert second.numbers == [3, 4]


def _beginning_at(scene: Scene, begin: Delivery, *, further: int = 0) -> Recorder:
    async def assigned(assignment: Assignment) -> int | None:
        return begin.position + further if assignment.partition == begin.partition else None

    recorder = scene.recorder()
    recorder.on_assigned = assigned
    return recorder


@promise
async def what_is_released_comes_again_at_once(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus, read = await _read(scene, recorder, 5)
        assignment = recorder.assignment_of(read[0])
        await assignment.release([read[4].position, read[2].position])
        await scene.at_once(lambda: len(recorder.deliveries) >= 7)
        await scene.nothing_more(bus, recorder)
        again = recorder.deliveries[5:]
        assert recorder.numbers[5:] == [2, 4]
        assert [(d.position, d.envelope) for d in again] == [(d.position, d.envelope) for d in (read[2], read[4])]
        if bus.capabilities.counts_deliveries:
            assert [delivery.deliveries for delivery in again] == [2, 2]
        await assignment.commit(read[4].position + 1)
        await assignment.release([read[2].position])  # it is finished: the commit stands
        await scene.nothing_more(bus, recorder)
        assert len(recorder.deliveries) == 7


@promise
async def what_is_released_while_paused_waits(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        _, read = await _read(scene, recorder, 3)
        assignment = recorder.assignment_of(read[0])
        assignment.pause("breaker")
        await assignment.release([read[1].position])
        await backing.quiet()
        assert len(recorder.deliveries) == 3
        assignment.resume("breaker")
        await scene.at_once(lambda: recorder.numbers[3:] == [1])


@promise
async def what_is_released_at_a_drain_is_the_next_owners_at_once(backing: Backing) -> None:
    async with Scene(backing) as scene:
        draining, heir = scene.recorder(), scene.recorder()
        bus = await scene.start(draining)
        await scene.start(heir)
        await scene.shared(draining, heir)
        await scene.publish(bus, 100, keys=[f"k{number}" for number in range(20)])
        await scene.until(lambda: len(draining.deliveries) + len(heir.deliveries) == 100)
        await bus.stop_intake()
        finished, released = set(), set()
        for partition, assignment in draining.held.items():
            if mine := [delivery for delivery in draining.deliveries if delivery.partition == partition]:
                finished.add(number_of(mine[0]))
                released |= {number_of(delivery) for delivery in mine[1:]}
                await assignment.commit(mine[0].position + 1)
                await assignment.release([delivery.position for delivery in mine[1:]])
        assert released
        await bus.close()
        await scene.at_once(lambda: released <= set(heir.numbers))
        assert not finished & set(heir.numbers)
        assert in_order_of_key([delivery for delivery in heir.deliveries if number_of(delivery) in released])


@promise
async def nothing_comes_before_it_is_assigned(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        may_take = asyncio.Event()

        async def take_time(_: Assignment) -> None:
            await may_take.wait()

        recorder.on_assigned = take_time
        bus = await scene.opened(recorder)
        await scene.publish(bus, 20)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(bus.start())
            await backing.quiet()
            assert not recorder.fetches
            may_take.set()
        await scene.until(lambda: len(recorder.deliveries) == 20)


@promise
async def a_partition_that_its_consumer_fails_to_take_is_offered_again(backing: Backing) -> None:
    async with Scene(backing) as scene:
        bus, read = await _read(scene, scene.recorder(), 1)
        await bus.close()
        recorder = scene.recorder()
        broken, failed = True, asyncio.Event()

        async def fail(assignment: Assignment) -> None:
            if broken and assignment.partition == read[0].partition:
                failed.set()
                raise Unavailable("the ledger", "no route to host")

        recorder.on_assigned = fail
        other = await scene.start(recorder)
        await failed.wait()
        for _ in range(10):
            await scene.publish(other, backing.partitions)
        await scene.until(lambda: len({d.partition for d in recorder.deliveries}) == backing.partitions - 1)
        assert read[0].partition not in {delivery.partition for delivery in recorder.deliveries}
        with pytest.raises(Unavailable, match="no route to host"):
            await other.check()
        broken = False
        await backing.let_pass(5)
        await scene.until(lambda: len(recorder.deliveries) == 1 + 10 * backing.partitions)
        assert sorted(recorder.numbers) == list(range(1 + 10 * backing.partitions))
        await other.check()


@promise
async def the_lag_is_what_is_not_committed(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        await scene.all_held(recorder)
        await scene.publish(bus, 40)
        await scene.until(lambda: len(recorder.deliveries) == 40)
        await scene.eventually(lambda: _lag(recorder) == 40)
        await recorder.commit_all()
        await scene.eventually(lambda: _lag(recorder) == 0)
        recorder.pause("breaker")
        await scene.publish(bus, 20)
        await scene.eventually(lambda: _lag(recorder) == 20)


def _lag(recorder: Recorder) -> int:
    return sum(assignment.lag for assignment in recorder.held.values())


@promise
async def an_address_that_is_made_anew_says_so(backing: Backing) -> None:
    async with Scene(backing) as scene:
        first, second, third = scene.recorder(), scene.recorder(), scene.recorder()
        bus, _ = await _read(scene, first, 5)
        await scene.all_held(first)
        before = {assignment.incarnation for assignment in first.held.values()}
        await first.commit_all()
        await bus.close()
        other = await scene.start(second)
        await scene.all_held(second)
        assert {assignment.incarnation for assignment in second.held.values()} == before
        await other.close()
        await backing.make_anew(scene.address)
        another = await scene.start(third)
        await scene.all_held(third)
        assert not {assignment.incarnation for assignment in third.held.values()} & before
        await scene.publish(another, 3, keys=["one"])
        await scene.until(lambda: len(third.deliveries) == 3)
        assert third.numbers == [5, 6, 7], "it begins at its beginning"
