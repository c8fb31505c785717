"""Bus promises: pausing, and how much comes at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from contracts.message import Delivery
from contracts.ports.bus import Assignment, Bus
from tests.conformance.bus_promise import promise
from tests.conformance.bus_scene import Backing, Recorder, Scene, ignore


@promise
async def pausing_is_a_set_of_reasons(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        await scene.all_held(recorder)
        recorder.pause("lanes full")
        recorder.pause("breaker")
        recorder.pause("breaker")
        await scene.publish(bus, 20)
        await backing.quiet()
        assert not recorder.fetches
        recorder.resume("breaker")
        recorder.resume("never given")
        await backing.quiet()
        assert not recorder.fetches
        recorder.resume("lanes full")
        await scene.until(lambda: len(recorder.deliveries) == 20)


@promise
async def pausing_takes_effect_on_what_is_about_to_be_handed_over(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()

        def pause_all(assignment: Assignment, deliveries: Sequence[Delivery]) -> None:
            recorder.pause("first come")

        bus = await scene.start(recorder)
        await scene.all_held(recorder)
        recorder.pause("not yet")
        await scene.publish(bus, 10 * backing.partitions)
        recorder.on_fetched = pause_all
        recorder.resume("not yet")
        await scene.until(lambda: bool(recorder.fetches))
        await backing.quiet()
        assert len(recorder.fetches) == 1
        recorder.on_fetched = ignore
        recorder.resume("first come")
        await scene.until(lambda: len(recorder.deliveries) == 10 * backing.partitions)


@promise
async def a_paused_partition_does_not_hold_up_the_others(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        await scene.all_held(recorder)
        await scene.publish(bus, 1, keys=["slow"])
        await scene.until(lambda: len(recorder.deliveries) == 1)
        paused = recorder.deliveries[0].partition
        recorder.held[paused].pause("storm")
        total = 1 + 30 * backing.partitions
        await scene.publish(bus, total - 1)
        await scene.until(lambda: len({d.partition for d in recorder.deliveries[1:]}) == backing.partitions - 1)
        await backing.quiet()
        assert paused not in {delivery.partition for delivery in recorder.deliveries[1:]}
        recorder.held[paused].resume("storm")
        await scene.until(lambda: len(recorder.deliveries) == total)


@promise
async def a_new_assignment_is_not_paused_unless_its_consumer_does_it(backing: Backing) -> None:
    async with Scene(backing) as scene:
        first, second = scene.recorder(), scene.recorder()
        bus = await scene.start(first)
        await scene.all_held(first)
        first.pause("breaker")
        await scene.publish(bus, 20)
        await bus.close()
        assert not first.fetches
        other = await scene.start(second)
        await scene.until(lambda: len(second.deliveries) == 20)
        await other.close()

        async def pause(assignment: Assignment) -> None:
            assignment.pause("breaker")

        third = scene.recorder()
        third.on_assigned = pause
        await scene.start(third)
        await scene.all_held(third)
        await backing.quiet()
        assert not third.fetches
        third.resume("breaker")
        await scene.until(lambda: len(third.deliveries) == 20)


@promise
async def who_fetches_nothing_for_long_is_a_member_all_the_same(backing: Backing) -> None:
    async with Scene(backing) as scene:
        paused, stopped = scene.recorder(), scene.recorder(group=f"stopped-{scene.group}")
        bus, other = await scene.start(paused), await scene.start(stopped)
        await scene.all_held(paused)
        await scene.all_held(stopped)
        held = dict(paused.held), dict(stopped.held)
        await scene.publish(bus, 1, keys=["one"])
        await scene.until(lambda: bool(paused.deliveries and stopped.deliveries))
        paused.pause("breaker")
        await other.stop_intake()
        await scene.publish(bus, 1, keys=["one"])
        await backing.let_pass(1.5 * backing.session_s)
        assert (paused.held, stopped.held) == held
        assert not paused.revocations
        assert not stopped.revocations
        for recorder in (paused, stopped):
            assert recorder.numbers == [0]
            await recorder.commit_all()
        paused.resume("breaker")
        await scene.until(lambda: paused.numbers == [0, 1])


@promise
async def a_fetch_is_bounded_in_messages(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await _paused_by_each_fetch(scene, recorder)
        count = 2 * backing.fetch_rows + 1
        await scene.publish(bus, count, keys=["one"])
        await bus.start()
        await _take_fetch_by_fetch(scene, recorder, count)
        assert max(len(fetch) for fetch in recorder.fetches) <= backing.fetch_rows
        assert recorder.numbers == list(range(count))


@promise
async def a_fetch_is_bounded_in_bytes(backing: Backing) -> None:
    body = b"x" * (backing.fetch_bytes // 3)
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await _paused_by_each_fetch(scene, recorder)
        await bus.publish(*(scene.envelope(body, key="one") for _ in range(8)))
        await bus.publish(scene.envelope(b"y" * 2 * backing.fetch_bytes, key="one"))
        await bus.start()
        await _take_fetch_by_fetch(scene, recorder, 9)
        sizes = [sum(len(delivery.envelope.body) for delivery in fetch) for fetch in recorder.fetches]
        assert all(size <= backing.fetch_bytes for size in sizes[:-1])
        assert len(recorder.fetches[-1]) == 1, "what is larger than a fetch comes alone"


async def _paused_by_each_fetch(scene: Scene, recorder: Recorder) -> Bus:
    def full(assignment: Assignment, deliveries: Sequence[Delivery]) -> None:
        assignment.pause("full")

    recorder.on_fetched = full
    return await scene.opened(recorder)


async def _take_fetch_by_fetch(scene: Scene, recorder: Recorder, count: int) -> None:
    """A fetch that was paused by its consumer is the last one, until it is resumed."""
    await scene.until(lambda: bool(recorder.fetches))
    await scene.backing.quiet()
    assert len(recorder.fetches) == 1
    while len(recorder.deliveries) < count:
        expected = len(recorder.fetches) + 1
        recorder.assignment_of(recorder.deliveries[0]).resume("full")
        await scene.until(partial(_has_fetches, recorder, expected))


def _has_fetches(recorder: Recorder, count: int) -> bool:
    return len(recorder.fetches) >= count


@promise
async def stopping_the_intake_stops_fetches_and_nothing_else(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        await scene.all_held(recorder)
        await scene.publish(bus, 20)
        await scene.until(lambda: len(recorder.deliveries) == 20)
        await bus.stop_intake()
        await bus.stop_intake()
        await scene.publish(bus, 20)
        await backing.quiet()
        await recorder.commit_all()
        recorder.pause("drain")
        recorder.resume("drain")
        await backing.quiet()
        assert len(recorder.deliveries) == 20
        assert len(recorder.held) == scene.all_partitions
        assert not recorder.revocations
        await bus.close()
        heir = scene.recorder()
        await scene.start(heir)
        await scene.until(lambda: len(heir.deliveries) == 20)
        assert sorted(heir.numbers) == list(range(20, 40))


@promise
async def stopping_the_intake_cuts_a_backlog_short(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.opened(recorder)
        stopping: list[asyncio.Task[None]] = []

        def stop(assignment: Assignment, deliveries: Sequence[Delivery]) -> None:
            if not stopping:
                stopping.append(asyncio.get_running_loop().create_task(bus.stop_intake()))

        recorder.on_fetched = stop
        await scene.publish(bus, 3 * backing.fetch_rows, keys=["one"])
        await bus.start()
        await scene.until(lambda: bool(stopping))
        await stopping[0]
        seen = len(recorder.deliveries)
        await backing.quiet()
        assert len(recorder.deliveries) == seen
        assert seen < 3 * backing.fetch_rows
