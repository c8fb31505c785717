"""The Kafka bus beyond what all buses promise, on a real broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition  # type: ignore[import-untyped]
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete  # type: ignore[import-untyped]
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType  # type: ignore[import-untyped]
from aiokafka.client import AIOKafkaClient  # type: ignore[import-untyped]
from aiokafka.protocol.produce import ProduceRequest  # type: ignore[import-untyped]
from faststream import BaseMiddleware

from adapters.bus.kafka import seams, topics
from adapters.bus.kafka.bus import DEFAULT_PARTITIONS, KafkaBus, group_of
from adapters.bus.kafka.mounted import MountedSubscriber
from adapters.bus.turn import next_turn
from adapters.clock.system import SystemClock
from contracts.errors import BadInput, Faults, LeaseLost, Permanent, Transient, Unavailable
from contracts.message import Delivery, Envelope
from contracts.ports.bus import Assignment
from tests.adapters.test_kafka_canaries import batch
from tests.conformance.bus_recorder import Recorder, job, stream
from tests.conformance.bus_scene import Scene
from tests.conformance.test_bus_kafka import KafkaBacking, backing_on
from tests.kit import services

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]


class World:
    """A scene on a real broker, and the clients of strangers."""

    def __init__(self, backing: KafkaBacking, scene: Scene, admin: Any, url: str) -> None:
        self.backing = backing
        self.scene = scene
        self.admin = admin
        self.url = url

    def bus(self, *recorders: Recorder, **options: Any) -> KafkaBus:
        """One with other options than those of the suite; closed with the scene."""
        given: dict[str, Any] = {
            "clock": SystemClock(),
            "session_timeout_s": self.backing.session_s,
            "rebalance_timeout_s": 10.0,
            "revoke_wait_s": 2.0,
            **options,
        }
        bus = KafkaBus(self.url, **given)
        self.scene.adopt(bus, *recorders)
        return bus

    async def started(self, *recorders: Recorder, **options: Any) -> KafkaBus:
        bus = self.bus(*recorders, **options)
        await bus.open()
        await bus.start()
        return bus

    async def make_topic(self, *, partitions: int = 1, **configs: str) -> None:
        settings = {name.replace("_", "."): value for name, value in configs.items()}
        new = NewTopic(self.scene.address, partitions, 1, topic_configs=settings)
        assert [error[1] for error in (await self.admin.create_topics([new])).topic_errors] == [0]


@pytest.fixture
async def world(kafka: services.Running) -> AsyncIterator[World]:
    async with at(kafka) as made:
        yield made


@asynccontextmanager
async def at(kafka: services.Running, *, middlewares: tuple[type[BaseMiddleware], ...] = ()) -> AsyncIterator[World]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.url)
    await admin.start()
    try:
        async with backing_on(kafka, middlewares=middlewares) as backing, Scene(backing) as scene:
            yield World(backing, scene, admin, kafka.url)
    finally:
        await admin.close()


# --- topics -------------------------------------------------------------------------------------------------------


async def settings_of(admin: Any, topic: str) -> dict[str, str]:
    [answer] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    return {entry[0]: entry[1] for entry in answer.resources[0][4]}


async def test_a_topic_is_made_as_its_route_declares_it(world: World) -> None:
    await world.started(world.scene.recorder(), world.scene.recorder(group="another"))
    [described] = await world.admin.describe_topics([world.scene.address])
    assert len(described["partitions"]) == world.backing.partitions
    assert (await settings_of(world.admin, world.scene.address))["retention.ms"] == str(7 * 86400 * 1000)


async def test_a_topic_that_is_there_is_left_as_it_is(world: World, caplog: pytest.LogCaptureFixture) -> None:
    await world.make_topic(partitions=2, retention_ms="1234567")
    recorder = world.scene.recorder()
    bus = await world.started(recorder)
    assert "has 2 partitions, declared are 4" in caplog.text
    await world.scene.publish(bus, 20)
    await world.scene.until(lambda: len(recorder.deliveries) == 20)
    assert {partition.index for partition in recorder.held} == {0, 1}
    assert (await settings_of(world.admin, world.scene.address))["retention.ms"] == "1234567"


async def test_a_topic_that_may_not_be_made_stops_the_start_and_says_what_to_make(world: World) -> None:
    recorder = Recorder(stream("a" * 250, 3), lambda: None)  # the cluster refuses the length of that name
    bus = world.bus(recorder)
    with pytest.raises(
        Faults, match=r"is not there for this user, and may not be made .*with 3 partitions and retention.ms=604800000"
    ):
        await bus.open()
    await bus.close()


async def test_a_topic_that_grows_is_followed(world: World) -> None:
    from aiokafka.admin.new_partitions import NewPartitions  # type: ignore[import-untyped]

    await world.make_topic(partitions=2)
    recorder = world.scene.recorder()
    bus = await world.started(recorder)
    await world.scene.until(lambda: len(recorder.held) == 2)
    kept = dict(recorder.held)
    await world.admin.create_partitions({world.scene.address: NewPartitions(total_count=4)})
    for subscriber in bus.broker.subscribers:
        await seams.look_around(subscriber._client)  # type: ignore[attr-defined]  # else in 5 minutes
    await world.scene.until(lambda: len(recorder.held) == 4)
    assert all(recorder.held[partition] is assignment for partition, assignment in kept.items())


# --- what arrives -------------------------------------------------------------------------------------------------


async def test_whatever_strangers_write_arrives(world: World) -> None:
    recorder = world.scene.recorder()
    await world.started(recorder)
    producer = AIOKafkaProducer(bootstrap_servers=world.url)
    await producer.start()
    try:
        for key, value, headers in [
            (b"tombstone", None, []),
            (b"", b"", []),
            (b"\xff\xfe", b"\xff", [("h", b"\xff")]),
            (None, b"{}", [("none", None), ("", b"empty name"), ("priority", b"\xff")]),
            (b"k", b"many", [(f"h{number}", b"x" * 100) for number in range(1000)]),
            (b"k" * 10_000, b"odd", [("message-id", b"x" * 10_000)]),
        ]:
            await producer.send_and_wait(world.scene.address, value, key, partition=0, headers=headers)
        await producer.send_and_wait(world.scene.address, b"old", b"k", partition=0, timestamp_ms=0)
    finally:
        await producer.stop()
    await world.scene.until(lambda: len(recorder.deliveries) == 7)
    seen = [delivery.envelope for delivery in recorder.deliveries]
    assert [one.body for one in seen] == [b"", b"", b"\xff", b"{}", b"many", b"odd", b"old"]
    assert [one.key for one in seen[:4]] == ["tombstone", "", "\\xff\\xfe", None]
    assert seen[2].headers == {"h": "\ufffd"}
    assert seen[3].headers == {"": "empty name"}
    assert len(seen[4].headers) == 1000
    assert seen[6].published_at is not None
    assert seen[6].published_at.year == 1970
    assert len({one.id for one in seen}) == 7


async def test_a_record_that_the_client_fails_on_stops_nothing_and_loses_nothing(world: World) -> None:
    await world.make_topic()
    recorder = world.scene.recorder(commits=True)
    bus = await world.started(recorder)
    await world.scene.until(lambda: len(recorder.held) == 1)
    recorder.pause("not yet")
    await world.scene.publish(bus, 10)
    await write(world.url, world.scene.address, batch([b"good", b"\xff\xfe\xfd\xfc", b"last"]))
    await world.scene.publish(bus, 10)
    recorder.resume("not yet")
    await world.scene.until(lambda: len(recorder.deliveries) == 23)
    positions = [delivery.position for delivery in recorder.deliveries]
    assert positions == list(range(23))
    assert recorder.deliveries[11].envelope.headers == {"\\xff\\xfe\\xfd\\xfc": "v"}
    assert recorder.deliveries[11].envelope.body == b"1"
    await bus.check()


async def write(url: str, topic: str, data: bytes) -> None:
    """These very bytes, as a batch."""
    client = AIOKafkaClient(bootstrap_servers=url)
    await client.bootstrap()
    try:
        request = ProduceRequest(transactional_id=None, required_acks=-1, timeout=5_000, topics=[(topic, [(0, data)])])
        answer = await client.send(client.get_random_node(), request)
        assert answer.topics[0][1][0][1] == 0, answer
    finally:
        await client.close()


async def test_our_keys_lie_where_those_of_other_clients_lie(world: World) -> None:
    recorder = world.scene.recorder()
    bus = await world.started(recorder)
    keys = [f"customer-{number}" for number in range(20)] + ["", "schlüssel"]
    for key in keys:
        await world.backing.publish_raw(world.scene.address, b"{}", key=key)
    await bus.publish(*(world.scene.envelope(b"{}", key=key) for key in keys))
    await world.scene.until(lambda: len(recorder.deliveries) == 2 * len(keys))
    placed: dict[str | None, set[int]] = {}
    for delivery in recorder.deliveries:
        placed.setdefault(delivery.envelope.key, set()).add(delivery.partition.index)
    assert all(len(indices) == 1 for indices in placed.values())


async def test_what_a_transaction_took_back_is_not_delivered(world: World) -> None:
    recorder = world.scene.recorder()
    bus = await world.started(recorder)
    producer = AIOKafkaProducer(bootstrap_servers=world.url, transactional_id=world.scene.group)
    await producer.start()
    try:
        async with producer.transaction():
            await producer.send(world.scene.address, b'{"number": 1}', b"one")
        await producer.begin_transaction()
        await producer.send_and_wait(world.scene.address, b'{"number": 2}', b"one")
        await producer.abort_transaction()
    finally:
        await producer.stop()
    await world.scene.nothing_more(bus, recorder)
    assert recorder.numbers == [1]
    await recorder.commit_all()
    positions = [delivery.position for delivery in recorder.deliveries]
    await world.scene.eventually(lambda: sum(one.lag for one in recorder.held.values()) <= max(positions) + 5)


async def test_what_retention_deleted_first_is_told_and_passed_over(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = world.scene.recorder()
    bus = await world.started(recorder)
    await world.scene.publish(bus, 10, keys=["one"])
    await world.scene.until(lambda: len(recorder.deliveries) == 10)
    last = recorder.deliveries[-1]
    assignment = recorder.assignment_of(last)
    assignment.pause("slow")
    await world.scene.publish(bus, 10, keys=["one"])
    tp = TopicPartition(world.scene.address, last.partition.index)
    await world.admin.delete_records({tp: RecordsToDelete(before_offset=last.position + 6)})
    await assignment.release([recorder.deliveries[4].position])  # it has to be fetched again, and is not there
    assignment.resume("slow")
    await world.scene.nothing_more(bus, recorder)
    assert recorder.numbers == [*range(10), *range(15, 20)]
    assert recorder.held[last.partition] is assignment
    assert "deleted by the topic's retention" in caplog.text


@pytest.mark.parametrize(
    ("expired", "position", "arrived"),
    [("earliest", 3, [6, 7, 8, 9]), ("latest", 3, []), ("fail", 3, None), ("fail", 0, [6, 7, 8, 9])],
)
async def test_where_messages_expired_before_they_were_handled_the_route_has_decided(
    world: World, expired: Any, position: int, arrived: list[int] | None
) -> None:
    """Who begins at 0 has decided already."""
    await world.make_topic()
    publisher = await world.started()
    await world.scene.publish(publisher, 10)
    tp = TopicPartition(world.scene.address, 0)
    await world.admin.delete_records({tp: RecordsToDelete(before_offset=6)})
    recorder = world.scene.recorder()
    recorder._route = msgspec.structs.replace(recorder.route, expired=expired)

    async def stored(_: Assignment) -> int:
        return position

    recorder.on_assigned = stored
    bus = await world.started(recorder)
    if arrived is not None:
        await world.scene.until(lambda: bool(recorder.held))
        await world.scene.nothing_more(bus, recorder)
        assert recorder.numbers == arrived
        return

    async def stopped() -> str:
        with suppress(Unavailable):
            await bus.check()
            return ""
        [subscriber] = [one for one in bus.broker.subscribers if isinstance(one, MountedSubscriber)]
        return "; ".join(subscriber.faults)

    async with asyncio.timeout(20):
        while "3 messages from 3 on were deleted" not in (why := await stopped()):
            await world.backing.quiet()
    assert f"millrace positions reset {world.scene.group} {world.scene.address} --to earliest" in why
    assert recorder.numbers == []


async def test_a_topic_that_is_made_anew_under_its_consumer_is_taken_anew(world: World) -> None:
    recorder = world.scene.recorder()
    bus = await world.started(recorder)
    await world.scene.publish(bus, 30, keys=["one"])
    await world.scene.until(lambda: len(recorder.deliveries) == 30)
    await recorder.commit_all()
    before = recorder.assignment_of(recorder.deliveries[0])
    await world.backing.make_anew(world.scene.address)
    await world.backing.publish_raw(world.scene.address, b'{"number": 100}', key="one")
    await world.scene.until(lambda: recorder.numbers[-1:] == [100])
    after = recorder.assignment_of(recorder.deliveries[-1])
    assert recorder.deliveries[-1].position == 0
    assert after.incarnation != before.incarnation
    assert after.epoch > before.epoch
    with pytest.raises(LeaseLost):
        await before.commit(30)


# --- publishing ---------------------------------------------------------------------------------------------------


async def test_what_is_too_large_is_refused_alone(world: World) -> None:
    await world.make_topic(max_message_bytes="10000")
    recorder = world.scene.recorder()
    bus = await world.started(recorder)

    async def outcome(size_bytes: int) -> Permanent | None:
        try:
            await bus.publish(world.scene.envelope(b"x" * size_bytes, key="one"))
        except Permanent as error:
            return error
        return None

    found = await asyncio.gather(*(outcome(size_bytes) for size_bytes in (10, 20_000, 20, 30, 2_000_000)))
    assert [type(error) for error in found] == [type(None), BadInput, type(None), type(None), BadInput]
    assert "20,000 bytes" in str(found[1])
    several = [world.scene.envelope(b"y" * size_bytes, key="one") for size_bytes in (1, 20_000, 2, 20_001, 3)]
    with pytest.raises(BadInput) as refused:
        await bus.publish(*several)
    assert len(refused.value.faults) == 2
    await bus.publish(world.scene.envelope(b"last", key="one"))
    await world.scene.until(lambda: b"last" in [delivery.envelope.body for delivery in recorder.deliveries])
    assert {10, 20, 30, 1, 2, 3} <= {len(delivery.envelope.body) for delivery in recorder.deliveries}


async def test_what_is_refused_together_is_sent_again_before_what_comes_behind_it(world: World) -> None:
    """Each fits, the first eight together do not; of a producer that it does not know a topic takes any sequence."""
    await world.make_topic(max_message_bytes="20000")
    recorder = world.scene.recorder()
    bus = await world.started(recorder)
    bodies = [b"%03d" % number + bytes(15_000) for number in range(9)]
    await bus.publish(*(world.scene.envelope(body, key="one") for body in bodies))
    await world.scene.until(lambda: {one.body for one in recorder.deliveries} == set(bodies))
    first_seen = list(dict.fromkeys(one.body[:3] for one in recorder.deliveries))
    assert first_seen == [body[:3] for body in bodies]


async def test_a_topic_that_nobody_declared_is_made_by_who_publishes_first(world: World) -> None:
    bus = await world.started()
    await bus.publish(world.scene.envelope(b"{}"))
    made = await topics.look_up(bus.broker.admin, [world.scene.address])
    assert made[world.scene.address].partitions == DEFAULT_PARTITIONS


# --- membership ---------------------------------------------------------------------------------------------------


async def test_what_stays_is_not_touched_by_those_who_come_and_go(world: World) -> None:
    staying, passing = world.scene.recorder(), world.scene.recorder()
    bus = await world.started(staying)
    await world.scene.all_held(staying)
    before = dict(staying.held)
    other = await world.started(passing)
    await world.scene.shared(staying, passing)
    assert len(staying.revocations) == world.backing.partitions // 2
    kept = {partition: one for partition, one in staying.held.items() if before[partition] is one}
    assert len(kept) == world.backing.partitions // 2
    for partition, assignment in kept.items():
        assignment.pause("slow")
        assert assignment.epoch == before[partition].epoch
    await other.close()
    await world.scene.all_held(staying)
    assert {partition: staying.held[partition] for partition in kept} == kept
    await world.scene.publish(bus, 40)
    await world.scene.until(lambda: len({one.partition for one in staying.deliveries}) == len(before) - len(kept))
    await world.backing.quiet()
    assert not {delivery.partition for delivery in staying.deliveries} & set(kept), "it forgot why it was paused"
    staying.resume("slow")
    await world.scene.until(lambda: len(staying.deliveries) == 40)
    for assignment in kept.values():
        await assignment.commit(1)


async def test_workers_that_are_restarted_in_turn_redo_nothing(world: World) -> None:
    """Handlers are shorter than `revoke_wait_s`, so whatever was begun is finished and committed before it moves."""
    stop = asyncio.Event()
    workers = [Worker(world) for _ in range(3)]
    for worker in workers:
        await worker.start()
    publisher = await world.started()
    published: list[Envelope] = []

    async def publish() -> None:
        while not stop.is_set():
            published.extend(await world.scene.publish(publisher, 20, keys=[f"k{number}" for number in range(50)]))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(publish())
        for worker in workers:
            goal = len(published) + 100
            await world.scene.eventually(lambda goal=goal: len(published) >= goal)  # type: ignore[misc]
            await worker.stop()
            await worker.start()
        stop.set()
    expected = {envelope.id for envelope in published}
    await world.scene.until(lambda: expected <= {one for worker in workers for one in worker.handled})
    handled = [one for worker in workers for one in worker.handled]
    assert len(handled) == len(expected), "finished work was done again"


class Worker:
    """Handles what it fetches one by one; when a partition goes it finishes what it began, and commits."""

    def __init__(self, world: World) -> None:
        self.handled: list[str] = []
        self._world = world
        self._bus: KafkaBus | None = None
        self._lanes: dict[Assignment, asyncio.Task[None]] = {}
        self._queues: dict[Assignment, asyncio.Queue[Delivery | None]] = {}

    async def start(self) -> None:
        recorder = self._world.scene.recorder()
        recorder.on_fetched, recorder.on_revoked = self._fetched, self._revoked
        self._changed = recorder._changed
        self._bus = await self._world.started(recorder)

    async def stop(self) -> None:
        assert self._bus is not None
        await self._bus.stop_intake()
        await self._bus.close()

    def _fetched(self, assignment: Assignment, deliveries: Sequence[Delivery]) -> None:
        queue = self._queues.setdefault(assignment, asyncio.Queue())
        if assignment not in self._lanes:
            self._lanes[assignment] = asyncio.get_running_loop().create_task(self._handle(assignment, queue))
        for delivery in deliveries:
            queue.put_nowait(delivery)

    async def _handle(self, assignment: Assignment, queue: asyncio.Queue[Delivery | None]) -> None:
        position = None
        while (delivery := await queue.get()) is not None:
            await next_turn()
            self.handled.append(delivery.envelope.id)
            position = delivery.position + 1
            self._changed()
        if position is not None:
            await assignment.commit(position)

    async def _revoked(self, assignment: Assignment) -> None:
        if (queue := self._queues.pop(assignment, None)) is not None:
            queue.put_nowait(None)
            await self._lanes.pop(assignment)


async def test_a_static_member_that_comes_back_in_time_has_its_partitions_at_once(world: World) -> None:
    first, second = world.scene.recorder(), world.scene.recorder()
    bus = await world.started(first, member="pod-1", session_timeout_s=30.0)
    await world.scene.all_held(first)
    await bus.abandon()
    again = await world.started(second, member="pod-1", session_timeout_s=30.0)
    await world.scene.at_once(lambda: len(second.held) == world.backing.partitions)
    third = world.scene.recorder()
    await again.close()
    await world.started(third, member="pod-2", session_timeout_s=30.0)
    await world.scene.at_once(lambda: len(third.held) == world.backing.partitions)


async def test_a_worker_with_another_ledger_is_refused(world: World) -> None:
    def ledger(name: str) -> Callable[[], Any]:
        async def ask() -> str:
            return name

        return ask

    first = world.scene.recorder(commits=True)
    bus = await world.started(first, ledger_id=ledger("ledger-1"))
    await world.scene.publish(bus, 1)
    await world.scene.until(lambda: bool(first.deliveries))
    await first.commit_all()
    with pytest.raises(Faults, match="kept with ledger ledger-1, and this worker has ledger ledger-2"):
        await world.started(world.scene.recorder(), ledger_id=ledger("ledger-2"))
    await world.started(world.scene.recorder(), ledger_id=ledger("ledger-1"))
    group = group_of(first.route)
    notes = {one.metadata for one in (await world.admin.list_consumer_group_offsets(group)).values()}
    assert len(notes) == 1
    assert "ledger-1" in notes.pop()


async def test_each_route_has_a_group_of_its_own() -> None:
    assert group_of(stream("orders.raw", 8, group="etl")) == "etl.orders.raw"
    assert group_of(job("run.batch_etl")) == "jobs.run.batch_etl"


# --- middlewares, and consumers that fail -------------------------------------------------------------------------


async def test_a_middleware_that_fails_delays_its_message_and_in_the_end_is_passed_by(kafka: services.Running) -> None:
    class Failing(BaseMiddleware):
        calls = 0

        async def consume_scope(self, call_next: Any, msg: Any) -> Any:
            if msg.body == b'{"number": 1}':
                type(self).calls += 1
                raise RuntimeError("no")
            return await call_next(msg)

    async with at(kafka, middlewares=(Failing,)) as world:
        recorder = world.scene.recorder()
        await world.scene.start(recorder)
        for number in range(3):
            await world.backing.publish_raw(world.scene.address, b'{"number": %d}' % number, key="one")
        await world.scene.until(lambda: len(recorder.deliveries) == 3)
        assert recorder.numbers == [0, 1, 2]
        assert Failing.calls == 5


async def test_what_a_middleware_changes_is_seen_and_what_it_keeps_is_kept(kafka: services.Running) -> None:
    class Changing(BaseMiddleware):
        async def consume_scope(self, call_next: Any, msg: Any) -> Any:
            if msg.body == b"keep":
                return None
            msg.body = msg.body.upper()
            msg.headers["seen"] = msg.raw_message.topic
            return await call_next(msg)

        async def publish_scope(self, call_next: Any, cmd: Any) -> Any:
            cmd.headers["sent"] = "1"
            return await call_next(cmd)

    async with at(kafka, middlewares=(Changing,)) as world:
        recorder = world.scene.recorder()
        bus = await world.scene.start(recorder)
        sent = world.scene.envelope(b"a", key="one", headers={"x": "y"})
        await bus.publish(sent, world.scene.envelope(b"keep", key="one"), world.scene.envelope(b"b", key="one"))
        await world.scene.until(lambda: len(recorder.deliveries) == 2)
        first, second = (delivery.envelope for delivery in recorder.deliveries)
        assert (first.body, second.body) == (b"A", b"B")
        assert first.headers == {"x": "y", "sent": "1", "seen": world.scene.address}
        assert (first.id, first.correlation_id, first.key) == (sent.id, sent.correlation_id, "one")
        with pytest.raises(BadInput):
            await bus.publish(world.scene.envelope(b"x" * 2_000_000))


async def test_a_consumer_that_raises_stops_its_partition_and_check_says_so(world: World) -> None:
    recorder = world.scene.recorder()

    def fail(_: Assignment, __: Sequence[Delivery]) -> None:
        raise ZeroDivisionError("by zero")

    recorder.on_fetched = fail
    bus = await world.started(recorder)
    await world.scene.publish(bus, 1)
    await world.scene.eventually(lambda: bool(recorder.fetches))
    with pytest.raises(Transient, match="ZeroDivisionError: by zero"):
        await bus.check()
