"""Bus promises: instants before which a message is not wanted, and how long a publisher waits for room."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from contracts.errors import Transient
from contracts.message import Delivery, Envelope
from contracts.ports.bus import Assignment, Bus
from tests.conformance.bus_promise import need, promise
from tests.conformance.bus_scene import Backing, Scene


@promise
async def a_delayed_message_waits_for_its_instant(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        arrived_at: list[datetime] = []

        def look_at_the_clock(_: Assignment, deliveries: Sequence[Delivery]) -> None:
            arrived_at.extend(scene.clock.now() for _ in deliveries)

        recorder.on_fetched = look_at_the_clock
        bus = scene.unopened(recorder)
        need(bus, "delay")
        await bus.open()
        await bus.start()
        await scene.all_held(recorder)
        now = scene.clock.now()
        for name, after_s in (("later", 2.0), ("soon", 1.0), ("past", -60.0)):
            await bus.publish(scene.envelope(name.encode(), key="k", not_before=now + timedelta(seconds=after_s)))
        await scene.until(lambda: bool(recorder.deliveries))
        await backing.let_pass(1.0)
        await scene.until(lambda: len(recorder.deliveries) >= 2)
        await backing.let_pass(1.0)
        await scene.until(lambda: len(recorder.deliveries) == 3)
        envelopes = [delivery.envelope for delivery in recorder.deliveries]
        assert [envelope.body for envelope in envelopes] == [b"past", b"soon", b"later"]
        for envelope, at in zip(envelopes, arrived_at, strict=True):
            assert envelope.not_before is not None
            assert envelope.not_before <= at


@promise
async def a_bus_without_delay_hands_over_the_instant(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = scene.unopened(recorder)
        if bus.capabilities.delay:
            pytest.skip(f"the {bus.capabilities.broker_name} bus delays messages itself")
        await bus.open()
        await bus.start()
        tomorrow = scene.clock.now() + timedelta(days=1)
        await bus.publish(scene.envelope(b"{}", not_before=tomorrow))
        await scene.until(lambda: len(recorder.deliveries) == 1)
        assert recorder.deliveries[0].envelope.not_before == tomorrow


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
    if backing.publish_bound is None:
        pytest.skip("the bus keeps what it is given")
    bound = backing.publish_bound
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        await scene.publish(bus, bound)
        async with asyncio.TaskGroup() as tasks:
            refused = tasks.create_task(_outcome(bus, scene.envelope(b"{}")))
            await backing.quiet()
            assert not refused.done()
            await backing.let_pass(60)
            error = await refused
        assert isinstance(error, Transient)
        assert scene.address in str(error)
        assert scene.group in str(error), "it doesn't say who is slow"
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
