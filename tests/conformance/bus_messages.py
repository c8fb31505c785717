"""Bus promises: what arrives is what was published, whole and in order."""

from __future__ import annotations

from itertools import pairwise

from contracts.message import CORRELATION_ID
from tests.conformance.bus_promise import promise
from tests.conformance.bus_recorder import by_key, in_order_of_key
from tests.conformance.bus_scene import Backing, Scene


@promise
async def a_message_arrives_as_it_was_published(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        sent = scene.envelope(
            b'{"number": 1, "note": "\xc3\xa9\xe2\x82\xac"}',
            key="kunde-7",
            headers={"content-type": "application/json", "X-Ünïcode": "naïve ☕\n", "empty": ""},
            correlation_id="web:42",
            published_at=scene.clock.now(),
            priority=7,
        )
        await bus.publish(sent)
        await scene.until(lambda: len(recorder.deliveries) == 1)
        [delivery] = recorder.deliveries
        assert delivery.envelope == sent
        assert delivery.deliveries == 1
        assert delivery.partition.address == scene.address


@promise
async def any_bytes_are_a_payload(backing: Backing) -> None:
    payloads = [b"", b"\x00\xff\x00", bytes(range(256)), b"not json {", b"x" * backing.big_bytes]
    async with Scene(backing) as scene:
        recorder = scene.recorder(commits=True)
        bus = await scene.start(recorder)
        for payload in payloads:
            await bus.publish(scene.envelope(payload, key="one"))
        await scene.until(lambda: len(recorder.deliveries) == len(payloads))
        assert [delivery.envelope.body for delivery in recorder.deliveries] == payloads


@promise
async def keys_are_any_text(backing: Backing) -> None:
    keys = ["", "a", "schlüssel", "鍵", "🔑", "with space", "x" * 1000, "null", "0"]
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        await scene.publish(bus, 2 * len(keys), keys=keys)
        await scene.until(lambda: len(recorder.deliveries) == 2 * len(keys))
        assert set(by_key(recorder.deliveries)) == set(keys)


@promise
async def a_key_has_one_partition_whoever_publishes(backing: Backing) -> None:
    keys = [f"customer-{number}" for number in range(20)]
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        await scene.publish(bus, 40, keys=keys)
        await scene.publish(await scene.opened(), 40, keys=keys)
        await scene.until(lambda: len(recorder.deliveries) == 80)
        places = {(delivery.envelope.key, delivery.partition) for delivery in recorder.deliveries}
        assert len(places) == len(keys), "a key in two partitions"
        assert len({partition for _, partition in places}) > 1, "all keys in one partition"


@promise
async def messages_without_a_key_are_spread(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        for _ in range(20):
            await scene.publish(bus, backing.partitions)
        await scene.until(lambda: len(recorder.deliveries) == 20 * backing.partitions)
        assert len({delivery.partition for delivery in recorder.deliveries}) == backing.partitions
        assert all(delivery.envelope.key is None for delivery in recorder.deliveries)


@promise
async def one_key_keeps_its_order(backing: Backing) -> None:
    keys = [f"customer-{number}" for number in range(17)]
    async with Scene(backing) as scene:
        recorder = scene.recorder(commits=True)
        bus = await scene.start(recorder)
        for _ in range(40):
            await scene.publish(bus, 10, keys=keys)
        await scene.until(lambda: len(recorder.deliveries) >= 400)
        assert sorted(recorder.numbers) == list(range(400)), "lost or doubled"
        assert in_order_of_key(recorder.deliveries)


@promise
async def many_are_published_at_once_and_confirmed(backing: Backing) -> None:
    keys = [f"customer-{number}" for number in range(17)]
    async with Scene(backing) as scene:
        recorder = scene.recorder(commits=True)
        publisher = await scene.opened(recorder)
        await publisher.publish()
        await scene.publish(publisher, 500, keys=keys)
        await scene.crash(publisher)
        await scene.start(reader := scene.recorder(commits=True))
        await scene.until(lambda: len(reader.deliveries) >= 500)
        assert sorted(reader.numbers) == list(range(500)), "what was confirmed was lost, or doubled"
        assert in_order_of_key(reader.deliveries)


@promise
async def positions_rise_within_a_partition(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        await scene.publish(bus, 150)
        await scene.until(lambda: len(recorder.deliveries) == 150)
        for partition in recorder.held:
            positions = [d.position for d in recorder.deliveries if d.partition == partition]
            assert all(later > earlier for earlier, later in pairwise(positions))


@promise
async def what_was_published_before_the_start_arrives(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.opened(recorder)
        await scene.publish(bus, 10)
        await backing.quiet()
        assert not recorder.held
        assert not recorder.fetches
        await bus.start()
        await scene.until(lambda: len(recorder.deliveries) == 10)
        assert sorted(recorder.numbers) == list(range(10))


@promise
async def each_group_gets_every_message(backing: Backing) -> None:
    async with Scene(backing) as scene:
        billing = scene.recorder(group=f"billing-{scene.group}")
        shipping = scene.recorder(group=f"shipping-{scene.group}", commits=True)
        elsewhere = scene.recorder(group=f"elsewhere-{scene.group}", commits=True)
        recorders = (billing, shipping, elsewhere)
        bus = await scene.start(billing, shipping)
        await scene.start(elsewhere)
        await scene.publish(bus, 100)
        await scene.until(lambda: all(len(recorder.deliveries) == 100 for recorder in recorders))
        assert all(sorted(recorder.numbers) == list(range(100)) for recorder in recorders)


@promise
async def a_job_route_gets_its_commands_in_order(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.job_recorder()
        bus = await scene.start(recorder)
        await scene.publish(bus, 50, keys=["same"])
        await scene.until(lambda: len(recorder.deliveries) == 50)
        assert recorder.numbers == list(range(50))


@promise
async def an_unsafe_identity_is_replaced(backing: Backing) -> None:
    unsafe = "a\nb; drop table jobs"
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        for correlation_id in (unsafe, "", "x" * 129, "naïve"):
            await bus.publish(scene.envelope(b"{}", key="k", correlation_id=correlation_id))
        await bus.publish(scene.envelope(b"{}", key="k", id=unsafe, correlation_id="kept.as:it-is_1"))
        await scene.until(lambda: len(recorder.deliveries) == 5)
        seen = [delivery.envelope for delivery in recorder.deliveries]
        assert all(CORRELATION_ID.fullmatch(envelope.correlation_id) for envelope in seen)
        assert len({envelope.correlation_id for envelope in seen}) == 5
        assert seen[-1].correlation_id == "kept.as:it-is_1"
        assert all(CORRELATION_ID.fullmatch(envelope.id) for envelope in seen)
        assert all(envelope.published_at is not None for envelope in seen)
