"""Bus promises: pausing, releasing, stopping, delay and bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from functools import partial

import pytest

from contracts.errors import Transient
from contracts.message import Delivery, Envelope
from contracts.ports.bus import Assignment, Bus
from tests.conformance.bus_promise import need, promise
from tests.conformance.bus_scene import Backing, Recorder, Scene, ignore


@promise
async def pausing_is_a_set_of_reasons(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        await scene.all_held(recorder)
        for assignment in recorder.held.values():
            assignment.pause("lanes full")
            assignment.pause("breaker")
            assignment.pause("breaker")
        await scene.publish(bus, 20)
        await backing.quiet()
        assert not recorder.fetches
        for assignment in recorder.held.values():
            assignment.resume("breaker")
            assignment.resume("never given")
        await backing.quiet()
        assert not recorder.fetches
        for assignment in recorder.held.values():
            assignment.resume("lanes full")
        await scene.until(lambda: len(recorder.deliveries) == 20)


@promise
async def pausing_takes_effect_on_what_is_about_to_be_handed_over(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()

        def pause_all(assignment: Assignment, deliveries: Sequence[Delivery]) -> None:
            for held in recorder.held.values():
                held.pause("first come")

        bus = await scene.start(recorder)
        await scene.all_held(recorder)
        for assignment in recorder.held.values():
            assignment.pause("not yet")
        await scene.publish(bus, 10 * backing.partitions)
        recorder.on_fetched = pause_all
        for assignment in recorder.held.values():
            assignment.resume("not yet")
        await scene.until(lambda: bool(recorder.fetches))
        await backing.quiet()
        assert len(recorder.fetches) == 1
        recorder.on_fetched = ignore
        for assignment in recorder.held.values():
            assignment.resume("first come")
        await scene.until(lambda: len(recorder.deliveries) == 10 * backing.partitions)


@promise
async def a_paused_partition_does_not_hold_up_the_others(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        await scene.all_held(recorder)
        paused, *others = sorted(recorder.held)
        recorder.held[paused].pause("storm")
        await scene.publish(bus, 30 * backing.partitions)
        await scene.until(lambda: {d.partition for d in recorder.deliveries} == set(others))
        await backing.quiet()
        assert paused not in {delivery.partition for delivery in recorder.deliveries}
        recorder.held[paused].resume("storm")
        await scene.until(lambda: len(recorder.deliveries) == 30 * backing.partitions)


@promise
async def a_consumer_may_pause_within_fetched(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()

        def full(assignment: Assignment, deliveries: Sequence[Delivery]) -> None:
            assignment.pause("full")

        recorder.on_fetched = full
        bus = scene.unopened(recorder)
        await bus.open()
        count = 2 * backing.fetch_rows + 1
        await scene.publish(bus, count, keys=["one"])
        await bus.start()
        await scene.until(lambda: bool(recorder.fetches))
        await backing.quiet()
        assert len(recorder.fetches) == 1
        while len(recorder.deliveries) < count:
            expected = len(recorder.fetches) + 1
            recorder.held[recorder.deliveries[0].partition].resume("full")
            await scene.until(partial(_has_fetches, recorder, expected))
        assert recorder.numbers == list(range(count))


def _has_fetches(recorder: Recorder, count: int) -> bool:
    return len(recorder.fetches) >= count


@promise
async def what_is_released_comes_again_at_once(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        await scene.publish(bus, 5, keys=["one"])
        await scene.until(lambda: len(recorder.deliveries) == 5)
        third, fifth = recorder.deliveries[2], recorder.deliveries[4]
        assignment = recorder.held[third.partition]
        await assignment.release([fifth.position, third.position])
        await scene.until(lambda: len(recorder.deliveries) >= 7)
        await backing.quiet()
        assert recorder.numbers[5:] == [2, 4]
        assert [delivery.envelope for delivery in recorder.deliveries[5:]] == [third.envelope, fifth.envelope]
        if bus.capabilities.counts_deliveries:
            assert [delivery.deliveries for delivery in recorder.deliveries[5:]] == [2, 2]
        await assignment.commit(fifth.position + 1)
        await assignment.release([third.position])  # it is finished: the commit stands
        await backing.quiet()
        assert len(recorder.deliveries) == 7


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
        assert len(recorder.deliveries) == 20
        assert len(recorder.held) == backing.partitions
        assert not recorder.revocations
        await recorder.commit_all()
        for assignment in recorder.held.values():
            assignment.pause("drain")
            assignment.resume("drain")
        await backing.quiet()
        assert len(recorder.deliveries) == 20
        await bus.close()
        heir = scene.recorder()
        await scene.start(heir)
        await scene.until(lambda: len(heir.deliveries) == 20)
        assert sorted(heir.numbers) == list(range(20, 40))


@promise
async def stopping_the_intake_cuts_a_backlog_short(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = scene.unopened(recorder)
        stopping: list[asyncio.Task[None]] = []

        def stop(assignment: Assignment, deliveries: Sequence[Delivery]) -> None:
            if not stopping:
                stopping.append(asyncio.get_running_loop().create_task(bus.stop_intake()))

        recorder.on_fetched = stop
        await bus.open()
        await scene.publish(bus, 3 * backing.fetch_rows, keys=["one"])
        await bus.start()
        await scene.until(lambda: bool(stopping))
        await stopping[0]
        seen = len(recorder.deliveries)
        await backing.quiet()
        assert len(recorder.deliveries) == seen
        assert seen < 3 * backing.fetch_rows


@promise
async def closing_revokes_everything(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        await scene.all_held(recorder)
        await bus.close()
        await bus.close()
        assert not recorder.held
        assert sorted(partition.index for partition in recorder.revocations) == list(range(backing.partitions))


@promise
async def a_delayed_message_waits_for_its_instant(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        need(bus, "delay")
        await scene.all_held(recorder)
        now = scene.clock.now()
        for name, after_s in (("later", 2.0), ("soon", 1.0), ("past", -60.0)):
            await bus.publish(scene.envelope(name.encode(), key="k", not_before=now + timedelta(seconds=after_s)))
        await scene.until(lambda: bool(recorder.deliveries))
        await backing.quiet()
        assert [delivery.envelope.body for delivery in recorder.deliveries] == [b"past"]
        await backing.let_pass(1.0)
        await scene.until(lambda: len(recorder.deliveries) >= 2)
        await backing.quiet()
        assert [delivery.envelope.body for delivery in recorder.deliveries] == [b"past", b"soon"]
        await backing.let_pass(1.0)
        await scene.until(lambda: len(recorder.deliveries) == 3)
        assert recorder.deliveries[-1].envelope.not_before == now + timedelta(seconds=2)


@promise
async def a_delayed_command_goes_to_its_job_route_at_once(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.job_recorder()
        bus = await scene.start(recorder)
        tomorrow = scene.clock.now() + timedelta(days=1)
        await bus.publish(scene.envelope(b"{}", not_before=tomorrow))
        await scene.until(lambda: len(recorder.deliveries) == 1)
        assert recorder.deliveries[0].envelope.not_before == tomorrow


@promise
async def publishing_is_bounded(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        if backing.publish_bound is None:
            pytest.skip(f"the {bus.capabilities.broker_name} bus keeps what it is given")
        bound = backing.publish_bound
        await scene.publish(bus, bound)
        async with asyncio.TaskGroup() as tasks:
            refused = tasks.create_task(_outcome(bus, scene.envelope(b"{}")))
            await backing.quiet()
            assert not refused.done()
            await backing.let_pass(60)
            error = await refused
        assert isinstance(error, Transient)
        assert scene.address in str(error)
        assert "suite" in str(error), "it doesn't say who is slow"
        assert f"{bound:,}" in str(error), "it doesn't say the bound"
        async with asyncio.TaskGroup() as tasks:
            waiting = [tasks.create_task(scene.publish(bus, 1, keys=["one"])) for _ in range(3)]
            await backing.quiet()
            assert not any(task.done() for task in waiting)
            await recorder.commit_all()
        await scene.until(lambda: len(recorder.deliveries) == bound + 3)
        assert recorder.numbers[-3:] == sorted(recorder.numbers[-3:]), "who waited first was let in first"


async def _outcome(bus: Bus, envelope: Envelope) -> BaseException | None:
    try:
        await bus.publish(envelope)
    except Transient as error:
        return error
    return None
