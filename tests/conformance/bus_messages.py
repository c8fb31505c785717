"""Bus promises: what arrives is what was published, whole and in order."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

from contracts.message import CORRELATION_ID, Envelope
from tests.conformance.bus_promise import promise
from tests.conformance.bus_scene import Backing, Scene


@promise
async def a_message_arrives_as_it_was_published(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        sent = scene.envelope(
            b'{"number": 1, "note": "\xc3\xa9\xe2\x82\xac"}',
            key="kunde-7",
            headers={"content-type": "application/json", "X-Ünïcode": "naïve ☕", "empty": ""},
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
        placed = defaultdict(set)
        for delivery in recorder.deliveries:
            placed[delivery.envelope.key].add(delivery.partition.index)
        assert set(placed) == set(keys)
        assert all(len(partitions) == 1 for partitions in placed.values()), "a key in two partitions"


@promise
async def messages_without_a_key_are_spread(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        await scene.publish(bus, 20 * backing.partitions)
        await scene.until(lambda: len(recorder.deliveries) == 20 * backing.partitions)
        assert {delivery.partition.index for delivery in recorder.deliveries} == set(range(backing.partitions))
        assert all(delivery.envelope.key is None for delivery in recorder.deliveries)


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


@promise
async def what_strangers_publish_arrives_as_an_envelope(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)

        async def stranger(body: bytes, correlation_id: str | None, **headers: str) -> Envelope:
            seen = len(recorder.deliveries)
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            await backing.publish_from_outside(bus, scene.address, body, headers=given, correlation_id=correlation_id)
            await scene.until(lambda: len(recorder.deliveries) == seen + 1)
            return recorder.deliveries[-1].envelope

        named = await stranger(b'{"number": 1}', "abc", message_id="order-1", tenant="blue")
        assert (named.id, named.correlation_id, named.body) == ("order-1", "abc", b'{"number": 1}')
        assert named.headers["tenant"] == "blue"
        assert named.address == scene.address
        assert (await stranger(b"{}", None, ce_id="cloud-event-1")).id == "cloud-event-1"
        unsafe = await stranger(b"{}", "two words", message_id="line\nbreak")
        assert CORRELATION_ID.fullmatch(unsafe.id)
        assert CORRELATION_ID.fullmatch(unsafe.correlation_id)
        nameless = await stranger(b"{}", None)
        assert CORRELATION_ID.fullmatch(nameless.id)
        assert nameless.id != unsafe.id


@promise
async def one_key_keeps_its_order(backing: Backing) -> None:
    keys = [f"customer-{number}" for number in range(17)]
    async with Scene(backing) as scene:
        recorder = scene.recorder(commits=True)
        bus = await scene.start(recorder)
        await scene.publish(bus, 400, keys=keys)
        await scene.until(lambda: len(recorder.deliveries) >= 400)
        assert sorted(recorder.numbers) == list(range(400)), "lost or doubled"
        by_key = defaultdict(list)
        for delivery, number in zip(recorder.deliveries, recorder.numbers, strict=True):
            by_key[delivery.envelope.key].append(number)
        assert all(numbers == sorted(numbers) for numbers in by_key.values())


@promise
async def positions_rise_within_a_partition(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        await scene.publish(bus, 150)
        await scene.until(lambda: len(recorder.deliveries) == 150)
        by_partition = defaultdict(list)
        for delivery in recorder.deliveries:
            by_partition[delivery.partition].append(delivery.position)
        for positions in by_partition.values():
            assert all(later > earlier for earlier, later in pairwise(positions))


@promise
async def a_fetch_is_bounded(backing: Backing) -> None:
    count = 3 * backing.fetch_rows
    async with Scene(backing) as scene:
        recorder = scene.recorder(commits=True)
        bus = scene.unopened(recorder)
        await bus.open()
        await scene.publish(bus, count, keys=["one"])
        await bus.start()
        await scene.until(lambda: len(recorder.deliveries) == count)
        assert max(len(fetch) for fetch in recorder.fetches) <= backing.fetch_rows
        assert recorder.numbers == list(range(count))


@promise
async def what_was_published_before_the_start_arrives(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = scene.unopened(recorder)
        await bus.open()
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
        billing, shipping = scene.recorder(group="billing"), scene.recorder(group="shipping", commits=True)
        bus = await scene.start(billing, shipping)
        await scene.publish(bus, 100)
        await scene.until(lambda: len(billing.deliveries) == 100 and len(shipping.deliveries) == 100)
        assert sorted(billing.numbers) == sorted(shipping.numbers) == list(range(100))


@promise
async def a_job_route_gets_its_commands_in_order(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.job_recorder()
        bus = await scene.start(recorder)
        await scene.publish(bus, 50, keys=["same"])
        await scene.until(lambda: len(recorder.deliveries) == 50)
        assert recorder.numbers == list(range(50))
