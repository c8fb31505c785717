"""What the memory bus does beyond the promises of every bus."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from faststream import BaseMiddleware
from faststream._internal.parser import DefaultCodec

from adapters.bus.memory.broker import MemoryBroker
from adapters.bus.memory.bus import MemoryBus
from adapters.bus.memory.log import OVERHEAD_BYTES, MemoryLog
from adapters.bus.memory.mounted import FetchLimits
from adapters.bus.memory.topic import Bounds
from adapters.bus.turn import next_turn
from adapters.clock.manual import ManualClock
from contracts.errors import BadInput, Faults, Transient, Unavailable
from contracts.message import Delivery
from contracts.ports.bus import Assignment
from tests.conformance.bus_scene import Scene, job, stream
from tests.conformance.test_bus_memory import MemoryBacking

pytestmark = pytest.mark.anyio

SMALL = 1_000 - OVERHEAD_BYTES
"""A body that makes a message of 1,000 bytes."""


@pytest.fixture
def backing() -> MemoryBacking:
    return MemoryBacking()


# --- middlewares around the hand-over -----------------------------------------------------------------------------


async def test_a_middleware_may_keep_a_message_for_itself(backing: MemoryBacking) -> None:
    class Filter(BaseMiddleware):
        async def consume_scope(self, call_next: Any, msg: Any) -> Any:
            return await call_next(msg) if msg.headers.get("wanted") else None

    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        bus.broker.add_middleware(Filter)
        await bus.publish(scene.envelope(b"kept", key="k"))
        await bus.publish(scene.envelope(b"passed", key="k", headers={"wanted": "yes"}))
        await scene.until(lambda: bool(recorder.deliveries))
        assert [delivery.envelope.body for delivery in recorder.deliveries] == [b"passed"]
        await bus.close()
        heir = scene.recorder()
        await scene.start(heir)
        await scene.until(lambda: bool(heir.deliveries))
        await backing.quiet()
        assert [delivery.envelope.body for delivery in heir.deliveries] == [b"passed"], "what was kept came again"


async def test_a_middleware_may_change_what_is_handed_over(backing: MemoryBacking) -> None:
    class Decrypt(BaseMiddleware):
        async def consume_scope(self, call_next: Any, msg: Any) -> Any:
            msg.body = msg.body[::-1]
            msg.headers["decrypted"] = "yes"
            return await call_next(msg)

    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        bus.broker.add_middleware(Decrypt)
        sent = scene.envelope(b"olleh")
        await bus.publish(sent)
        await scene.until(lambda: bool(recorder.deliveries))
        [delivery] = recorder.deliveries
        assert delivery.envelope.body == b"hello"
        assert delivery.envelope.headers == {"decrypted": "yes"}
        assert delivery.envelope.id == sent.id


async def test_a_publish_middleware_may_change_what_is_published(backing: MemoryBacking) -> None:
    class Stamp(BaseMiddleware):
        async def publish_scope(self, call_next: Any, cmd: Any) -> Any:
            cmd.headers["traceparent"] = "00-1"
            return await call_next(cmd)

    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        bus.broker.add_middleware(Stamp)
        sent = scene.envelope(b"{}", key="k", headers={"tenant": "blue"}, priority=3)
        await bus.publish(sent)
        await scene.until(lambda: bool(recorder.deliveries))
        seen = recorder.deliveries[0].envelope
        assert seen.headers == {"tenant": "blue", "traceparent": "00-1"}
        assert (seen.id, seen.key, seen.priority, seen.correlation_id) == (sent.id, "k", 3, sent.correlation_id)


@pytest.mark.parametrize("error", [PermissionError("bad signature"), asyncio.CancelledError()], ids=repr)
async def test_a_middleware_that_fails_holds_its_partition_and_then_buries(
    backing: MemoryBacking, error: BaseException
) -> None:
    class Unsigned(BaseMiddleware):
        seen = 0

        async def consume_scope(self, call_next: Any, msg: Any) -> Any:
            if msg.body == b"forged":
                type(self).seen += 1
                raise error
            return await call_next(msg)

    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        bus.broker.add_middleware(Unsigned)
        await scene.all_held(recorder)
        for body in (b"first", b"forged", b"last"):
            await bus.publish(scene.envelope(body, key="k"))
        await scene.until(lambda: bool(recorder.deliveries))
        await backing.quiet()
        assert [delivery.envelope.body for delivery in recorder.deliveries] == [b"first"], "it was overtaken"
        assert Unsigned.seen == 1, "it came again without a pause"
        await backing.let_pass(60)
        await scene.until(lambda: len(recorder.deliveries) == 2)
        assert [delivery.envelope.body for delivery in recorder.deliveries] == [b"first", b"last"]
        assert Unsigned.seen == 5
        [letter] = bus.broker.dead_letters
        assert letter.delivery.envelope.body == b"forged"
        assert ("bad signature" if isinstance(error, PermissionError) else "was cancelled") in letter.reason


@pytest.mark.parametrize("what", ["pause", "stop_intake", "close"])
async def test_what_is_on_its_way_through_a_middleware_is_not_handed_over_any_more(
    backing: MemoryBacking, what: str
) -> None:
    inside, go_on = asyncio.Event(), asyncio.Event()

    class Slow(BaseMiddleware):
        async def consume_scope(self, call_next: Any, msg: Any) -> Any:
            inside.set()
            await go_on.wait()
            return await call_next(msg)

    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        bus.broker.add_middleware(Slow)
        await scene.all_held(recorder)
        await scene.publish(bus, 1, keys=["k"])
        await inside.wait()
        if what == "pause":
            for assignment in recorder.held.values():
                assignment.pause("test")
        elif what == "stop_intake":
            await bus.stop_intake()
        else:
            await bus.close()
        go_on.set()
        await backing.quiet()
        assert not recorder.deliveries
        if what == "pause":
            for assignment in recorder.held.values():
                assignment.resume("test")
        else:
            await bus.close()
            recorder = scene.recorder()
            await scene.start(recorder)
        await scene.until(lambda: bool(recorder.deliveries))
        if what != "close":
            assert recorder.deliveries[0].deliveries == 1, "nobody saw it the first time"


async def test_stopping_the_intake_stops_native_subscribers_too(backing: MemoryBacking) -> None:
    async with Scene(backing) as scene:
        bus = scene.unopened(scene.recorder())
        began, may_end = asyncio.Event(), asyncio.Event()
        handled: list[bytes] = []

        async def handle(body: bytes) -> None:
            began.set()
            await may_end.wait()
            handled.append(body)

        bus.broker.subscriber(scene.address, group="native", partitions=backing.partitions)(handle)
        await bus.open()
        await bus.start()
        await bus.publish(scene.envelope(b"one", key="k"))
        await bus.publish(scene.envelope(b"two", key="k"))
        await began.wait()
        await bus.stop_intake()
        may_end.set()
        await backing.quiet()
        assert handled == [b"one"]
        assert backing.log.stats(scene.address).lag["native"] == 1


async def test_who_drains_keeps_what_it_has_and_is_given_nothing_more(backing: MemoryBacking) -> None:
    async with Scene(backing) as scene:
        draining, leaving, joining = scene.recorder(), scene.recorder(), scene.recorder()
        bus = await scene.start(draining)
        await scene.all_held(draining)
        other = await scene.start(leaving)
        await scene.until(lambda: len(draining.held) == len(leaving.held) == backing.partitions // 2)
        kept = set(draining.held)
        moved = len(draining.revocations)
        await bus.stop_intake()
        await scene.start(joining)
        await other.close()
        await scene.all_held(draining, joining)
        assert set(draining.held) == kept
        assert len(draining.revocations) == moved
        await bus.close()
        await scene.all_held(joining)


async def test_the_applications_codec_has_no_say_in_routes(backing: MemoryBacking) -> None:
    class Upside(DefaultCodec):
        async def decode(self, msg: Any) -> Any:
            raise AssertionError("a route's payload is decoded by its contract")

    broker = MemoryBroker(backing.log, codec=Upside(), middlewares=[BaseMiddleware], logger=None)
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = MemoryBus(backing.clock, broker=broker)
        bus.mount(recorder, schema={})
        await bus.open()
        await bus.start()
        await bus.publish(scene.envelope(b"{}"))
        await scene.until(lambda: bool(recorder.deliveries))
        await bus.close()
        assert not broker.dead_letters


# --- consumers that break -----------------------------------------------------------------------------------------


async def test_a_consumer_that_raises_pauses_the_partition_and_shows(
    backing: MemoryBacking, caplog: pytest.LogCaptureFixture
) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()

        def fail(assignment: Assignment, deliveries: Sequence[Delivery]) -> None:
            raise RuntimeError("lane table is corrupt")

        recorder.on_fetched = fail
        bus = await scene.start(recorder)
        await bus.check()
        await scene.publish(bus, 1, keys=["k"])
        await backing.quiet()
        await scene.publish(bus, 1, keys=["k"])
        await backing.quiet()
        assert len(recorder.fetches) == 1
        with pytest.raises(Unavailable, match="lane table is corrupt"):
            await bus.check()
        assert "its consumer raised" in caplog.text
        await bus.close()
        heir = scene.recorder()
        await scene.start(heir)
        await scene.until(lambda: len(heir.deliveries) == 2)
        assert heir.numbers == [0, 1]


# --- bounds, retention and delay ----------------------------------------------------------------------------------


def small_log(clock: ManualClock) -> MemoryLog:
    return MemoryLog(clock, Bounds(max_messages=10, max_bytes=5_000, publish_wait_s=1))


async def test_bytes_are_bounded_and_the_first_who_waits_is_the_first_let_in(backing: MemoryBacking) -> None:
    backing.log = small_log(backing.clock)
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        await scene.all_held(recorder)
        for _ in range(5):
            await bus.publish(scene.envelope(b"x" * SMALL, key="k"))
        assert backing.log.stats(scene.address).size_bytes == 5_000
        async with asyncio.TaskGroup() as tasks:
            big = tasks.create_task(bus.publish(scene.envelope(b"b" * (SMALL + 1_000), key="k")))
            await scene.until(lambda: len(recorder.deliveries) == 5)
            [assignment] = [recorder.held[p] for p in {delivery.partition for delivery in recorder.deliveries}]
            await assignment.commit(1)
            tiny = tasks.create_task(bus.publish(scene.envelope(b"t", key="k")))
            await backing.quiet()
            assert backing.log.stats(scene.address).waiting == 2
            assert not big.done()
            assert not tiny.done(), "it passed whoever waited before it"
            await assignment.commit(2)
            await big
            await backing.quiet()
            assert not tiny.done()
            await assignment.commit(3)
        await scene.until(lambda: len(recorder.deliveries) == 7)
        assert [delivery.envelope.body[:1] for delivery in recorder.deliveries[5:]] == [b"b", b"t"]
        await assignment.commit(7)
        stats = backing.log.stats(scene.address)
        assert (stats.messages, stats.size_bytes, stats.waiting) == (0, 0, 0)


async def test_a_publisher_that_gives_up_leaves_nothing_behind(backing: MemoryBacking) -> None:
    backing.log = small_log(backing.clock)
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        await scene.publish(bus, 10, keys=["k"])
        async with asyncio.TaskGroup() as tasks:
            impatient = tasks.create_task(bus.publish(scene.envelope(b"impatient")))
            patient = tasks.create_task(bus.publish(scene.envelope(b"patient")))
            await backing.quiet()
            impatient.cancel()
            await backing.quiet()
            assert backing.log.stats(scene.address).waiting == 1
            await recorder.commit_all()
            await patient
        await scene.until(lambda: len(recorder.deliveries) == 11)
        assert recorder.deliveries[-1].envelope.body == b"patient"


async def test_a_message_that_can_never_fit_is_refused_at_once(backing: MemoryBacking) -> None:
    backing.log = small_log(backing.clock)
    async with Scene(backing) as scene:
        bus = await scene.start(scene.recorder())
        with pytest.raises(BadInput, match="reference to a file"):
            await bus.publish(scene.envelope(b"x" * 5_000))


async def test_an_address_that_nobody_reads_keeps_its_newest(
    backing: MemoryBacking, caplog: pytest.LogCaptureFixture
) -> None:
    backing.log = small_log(backing.clock)
    async with Scene(backing) as scene:
        publisher = scene.unopened()
        await publisher.open()
        with caplog.at_level(logging.WARNING, "millrace.bus"):
            await scene.publish(publisher, 25, keys=["k"])
        stats = backing.log.stats(scene.address)
        assert (stats.messages, stats.expired) == (10, 15)
        assert caplog.text.count("its oldest messages are dropped") == 1
        recorder = scene.recorder()
        await scene.start(recorder)
        await scene.until(lambda: len(recorder.deliveries) == 10)
        assert recorder.numbers == list(range(15, 25))


async def test_messages_stay_until_every_group_has_committed_them(backing: MemoryBacking) -> None:
    async with Scene(backing) as scene:
        quick, slow = scene.recorder(group="quick"), scene.recorder(group="slow")
        bus = await scene.start(quick, slow)
        await scene.publish(bus, 10, keys=["k"])
        await scene.until(lambda: len(quick.deliveries) == 10 and len(slow.deliveries) == 10)
        await quick.commit_all()
        stats = backing.log.stats(scene.address)
        assert (stats.messages, stats.lag) == (10, {"quick": 0, "slow": 10})
        late = scene.recorder(group="late")
        await scene.start(late)
        await scene.until(lambda: len(late.deliveries) == 10)
        await slow.commit_all()
        assert backing.log.stats(scene.address).messages == 10
        await late.commit_all()
        assert backing.log.stats(scene.address).messages == 0


async def test_a_group_keeps_its_claim_when_its_last_member_leaves(backing: MemoryBacking) -> None:
    backing.log = small_log(backing.clock)
    async with Scene(backing) as scene:
        gone = await scene.start(scene.recorder())
        await gone.close()
        publisher = scene.unopened()
        await publisher.open()
        await scene.publish(publisher, 10)
        async with asyncio.TaskGroup() as tasks:
            refused = tasks.create_task(_refused(publisher, scene))
            await backing.quiet()
            await backing.let_pass(1)
            assert await refused


async def _refused(bus: Any, scene: Scene) -> bool:
    try:
        await bus.publish(scene.envelope(b"{}"))
    except Transient:
        return True
    return False


async def test_delayed_messages_count_and_survive_the_bus_that_took_them(backing: MemoryBacking) -> None:
    async with Scene(backing) as scene:
        publisher = scene.unopened()
        await publisher.open()
        later = scene.clock.now() + timedelta(minutes=10)
        await publisher.publish(scene.envelope(b"late", not_before=later))
        assert backing.log.stats(scene.address).messages == 1
        await publisher.close()
        recorder = scene.recorder()
        await scene.start(recorder)
        await backing.let_pass(599)
        assert not recorder.deliveries
        await backing.let_pass(1)
        await scene.until(lambda: bool(recorder.deliveries))


async def test_what_came_due_while_no_bus_was_open_is_delivered(backing: MemoryBacking) -> None:
    async with Scene(backing) as scene:
        publisher = scene.unopened()
        await publisher.open()
        await publisher.publish(scene.envelope(b"due", not_before=scene.clock.now() + timedelta(seconds=5)))
        await publisher.close()
        await backing.let_pass(10)
        recorder = scene.recorder()
        await scene.start(recorder)
        await scene.until(lambda: bool(recorder.deliveries))


async def test_an_application_may_bring_its_broker() -> None:
    clock = ManualClock()
    broker = MemoryBroker(MemoryLog(clock), logger=None)
    bus = MemoryBus(clock, broker=broker)
    assert bus.broker is broker
    assert bus.log is broker.log
    with pytest.raises(ValueError, match="another log"):
        MemoryBus(clock, MemoryLog(clock), broker=broker)


async def test_partitions_are_declared_with_one_number() -> None:
    clock = ManualClock()
    log = MemoryLog(clock)
    bus = MemoryBus(clock, log)
    scene_routes = [stream("orders", 4), stream("orders", 6, group="other"), job("orders")]

    class Quiet:
        def __init__(self, route: Any) -> None:
            self.route = route

        async def assigned(self, assignment: Assignment) -> None: ...

        def fetched(self, assignment: Assignment, deliveries: Sequence[Delivery]) -> None: ...

        async def revoked(self, assignment: Assignment) -> None: ...

    bus.mount(Quiet(scene_routes[0]), schema={})
    for route in scene_routes[1:]:
        with pytest.raises(Faults, match=r"declared with \d partitions, and with 4 before"):
            bus.mount(Quiet(route), schema={})
    with pytest.raises(Faults, match="at least 1"):
        log.declare("empty", 0)


async def test_a_fetch_is_bounded_by_bytes_too() -> None:
    class Tight(MemoryBacking):
        def bus(self) -> MemoryBus:
            return MemoryBus(self.clock, self.log, limits=FetchLimits(max_bytes=3_000))

    backing = Tight()
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = scene.unopened(recorder)
        await bus.open()
        for size in (SMALL, SMALL, SMALL, SMALL, 10_000, SMALL):
            await bus.publish(scene.envelope(b"x" * size, key="k"))
        await bus.start()
        await scene.until(lambda: len(recorder.deliveries) == 6)
        assert [len(fetch) for fetch in recorder.fetches] == [3, 1, 1, 1]


async def test_an_idle_bus_hands_over_in_the_next_turns_of_the_loop(backing: MemoryBacking) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        await scene.all_held(recorder)
        await backing.quiet()
        await scene.publish(bus, 1)
        turns = 0
        while not recorder.deliveries:
            turns += 1
            assert turns <= 3, "something polls, or hops through more tasks than it must"
            await next_turn()


async def test_closing_leaves_no_task_behind(backing: MemoryBacking) -> None:
    before = asyncio.all_tasks()
    async with Scene(backing) as scene:
        bus = await scene.start(scene.recorder(), scene.recorder(group="second"))
        await scene.publish(bus, 5)
        await backing.quiet()
        assert asyncio.all_tasks() > before
    assert asyncio.all_tasks() == before
