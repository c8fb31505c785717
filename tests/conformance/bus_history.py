"""Bus promises: what lies on it can be read by time, again and again, by anybody, and nobody is disturbed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import msgspec
import pytest

from contracts.errors import Conflict, NotFound
from contracts.message import Delivery, Partition
from contracts.ports.bus import Bus
from contracts.ports.history import History, Stretch
from tests.conformance.bus_promise import promise
from tests.conformance.bus_recorder import number_of
from tests.conformance.bus_scene import Backing, Scene

KEYS = ("a", "b", "c", None)
APART_S = 0.02
"""More than a millisecond, which is what buses tell apart."""


@asynccontextmanager
async def opened(bus: Bus) -> AsyncIterator[History]:
    history = bus.history
    await history.open()
    try:
        yield history
    finally:
        await history.close()


async def read(
    history: History, stretches: Sequence[Stretch], *, rows: int = 20, size_bytes: int = 1 << 20
) -> dict[Partition, list[Delivery]]:
    """All of it; each batch within the bound."""
    found: dict[Partition, list[Delivery]] = {}
    async with history.reader(stretches, rows=rows, size_bytes=size_bytes) as reader:
        for stretch in stretches:
            taken = found[stretch.partition] = []
            while batch := await reader.following(stretch.partition):
                assert len(batch) <= rows
                taken += batch
            assert await reader.following(stretch.partition) == []
            positions = [delivery.position for delivery in taken]
            assert positions == sorted(set(positions))
            assert all(stretch.first <= position < stretch.end for position in positions)
    return found


def all_of(found: dict[Partition, list[Delivery]]) -> list[Delivery]:
    return [delivery for deliveries in found.values() for delivery in deliveries]


def numbers(found: dict[Partition, list[Delivery]]) -> list[int]:
    return sorted(number_of(delivery) for delivery in all_of(found))


@promise
async def what_everybody_has_finished_can_be_read_again(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder(commits=True)
        bus = await scene.start(recorder)
        sent = await scene.publish(bus, 100, keys=KEYS)
        odd = scene.envelope(b"\xff\x00", key="a", headers={"tenant": "blue"})
        await bus.publish(odd)
        await scene.until(lambda: len(recorder.deliveries) == 101)
        async with opened(bus) as history:
            stretches = await history.stretches(scene.address)
            assert len(stretches) == scene.all_partitions
            assert [one.partition.index for one in stretches] == list(range(scene.all_partitions))
            first, second = await read(history, stretches), await read(history, stretches, rows=7)
        assert first == second
        got = {delivery.envelope.id: delivery for delivery in all_of(first)}
        assert set(got) == {envelope.id for envelope in (*sent, odd)}
        for envelope in (*sent, odd):
            there = got[envelope.id].envelope
            assert (there.body, there.key, there.headers) == (envelope.body, envelope.key, envelope.headers)
            assert there.correlation_id == envelope.correlation_id
        handed = {one.envelope.id: (one.partition, one.position) for one in recorder.deliveries}
        assert {id_: (one.partition, one.position) for id_, one in got.items()} == handed
        await scene.nothing_more(bus, recorder)
        assert len(recorder.deliveries) == 101, "who reads by time takes nothing from a group"


@promise
async def times_that_touch_make_stretches_that_touch(backing: Backing) -> None:
    async with Scene(backing) as scene:
        bus = await scene.start(scene.recorder(commits=True))
        began_at = backing.clock.now()
        await scene.publish(bus, 30, keys=KEYS)
        await backing.let_pass(APART_S)
        noon = backing.clock.now()
        await backing.let_pass(APART_S)
        await scene.publish(bus, 40, keys=KEYS)
        ends_at = backing.clock.now() + timedelta(hours=1)
        async with opened(bus) as history:
            before = await history.stretches(scene.address, to_at=noon)
            after = await history.stretches(scene.address, from_at=noon, to_at=ends_at)
            assert numbers(await read(history, before)) == list(range(30))
            assert numbers(await read(history, after)) == list(range(30, 70))
            for earlier, later in zip(before, after, strict=True):
                assert earlier.end <= later.first
            never = await history.stretches(scene.address, from_at=ends_at)
            long_ago = await history.stretches(scene.address, to_at=began_at - timedelta(days=1))
            assert all(one.is_empty and not one.expired for one in (*never, *long_ago))
            assert numbers(await read(history, never)) == []
            whole = await history.stretches(scene.address, from_at=began_at - timedelta(days=1))
            assert numbers(await read(history, whole)) == list(range(70))
            assert not any(one.expired for one in whole), "nothing was ever deleted"


@promise
async def what_comes_later_is_not_in_a_stretch(backing: Backing) -> None:
    async with Scene(backing) as scene:
        bus = await scene.start(scene.recorder(commits=True))
        await scene.publish(bus, 20, keys=KEYS)
        async with opened(bus) as history:
            stretches = await history.stretches(scene.address, to_at=backing.clock.now() + timedelta(days=1))
            await scene.publish(bus, 20, keys=KEYS)
            assert numbers(await read(history, stretches)) == list(range(20))


@promise
async def who_was_interrupted_goes_on_behind_what_it_has(backing: Backing) -> None:
    async with Scene(backing) as scene:
        bus = await scene.start(scene.recorder(commits=True))
        await scene.publish(bus, 60, keys=KEYS)
        async with opened(bus) as history:
            stretches = await history.stretches(scene.address)
            begun = {}
            async with history.reader(stretches, rows=4, size_bytes=1 << 20) as reader:
                for stretch in stretches:
                    begun[stretch.partition] = list(await reader.following(stretch.partition))
        left = [
            msgspec.structs.replace(one, first=begun[one.partition][-1].position + 1) if begun[one.partition] else one
            for one in stretches
        ]
        kept = msgspec.json.decode(msgspec.json.encode(left), type=list[Stretch])
        assert kept == left
        async with opened(bus) as history:
            rest = await read(history, kept)
        assert 0 < len(all_of(rest)) < 60
        assert sorted(numbers(rest) + numbers(begun)) == list(range(60))


@promise
async def large_messages_are_read_a_few_at_a_time(backing: Backing) -> None:
    async with Scene(backing) as scene:
        bus = await scene.start(scene.recorder(commits=True))
        body = msgspec.json.encode({"number": 1, "note": "x" * 200_000})
        large = msgspec.json.encode({"number": 1, "note": "x" * 900_000})
        sent = [scene.envelope(body, key="a") for _ in range(20)] + [scene.envelope(large, key="a")]
        for envelope in sent:
            await bus.publish(envelope)
        async with opened(bus) as history:
            stretches = [one for one in await history.stretches(scene.address) if not one.is_empty]
            batches: list[Sequence[Delivery]] = []
            async with history.reader(stretches, rows=1000, size_bytes=512 * 1024) as reader:
                while batch := await reader.following(stretches[0].partition):
                    batches.append(batch)
        assert [one.envelope.id for batch in batches for one in batch] == [envelope.id for envelope in sent]
        assert max(len(batch) for batch in batches) <= 8


@promise
async def strangers_messages_have_the_identity_that_their_readers_see(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        for number in range(3):
            await backing.publish_raw(scene.address, b'{"number": %d}' % number, key="k", headers={"tenant": "blue"})
        await scene.until(lambda: len(recorder.deliveries) == 3)
        async with opened(bus) as history:
            found = await read(history, await history.stretches(scene.address))
        seen = [(one.partition, one.position, one.envelope) for one in recorder.deliveries]
        assert [(one.partition, one.position, one.envelope) for one in all_of(found)] == seen


@promise
async def an_address_without_messages_is_empty_and_an_unknown_one_is_not_there(backing: Backing) -> None:
    async with Scene(backing) as scene:
        bus = await scene.start(scene.recorder())
        async with opened(bus) as history:
            await history.check()
            stretches = await history.stretches(scene.address, from_at=backing.clock.now() - timedelta(days=1))
            assert all(one.is_empty and not one.expired for one in stretches)
            assert all_of(await read(history, stretches)) == []
            with pytest.raises(NotFound, match="nobody-knows"):
                await history.stretches(f"nobody-knows.{backing.clock.new_id()}")


@promise
async def what_nobody_consumes_can_be_read(backing: Backing) -> None:
    async with Scene(backing) as scene:
        bus = await scene.opened()
        await scene.publish(bus, 25, keys=("one",))
        async with opened(bus) as history:
            stretches = await history.stretches(scene.address)
            found = await read(history, stretches, rows=10)
        assert [number_of(delivery) for delivery in all_of(found)] == list(range(25))


@promise
async def what_was_deleted_is_told(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder(commits=True)
        bus = await scene.start(recorder)
        began_at = backing.clock.now()
        await scene.publish(bus, 20, keys=("one",))
        await scene.until(lambda: len(recorder.deliveries) == 20)
        async with opened(bus) as history:
            lost = await history.stretches(scene.address)
        await bus.close()
        await backing.forget(scene.address)
        await backing.let_pass(APART_S)
        noon = backing.clock.now()
        other = await scene.opened()
        await scene.publish(other, 5, keys=("one",))
        async with opened(other) as history:
            [of_one] = [one for one in await history.stretches(scene.address) if not one.is_empty]
            assert not of_one.expired, "who asks for no time gets what there is"
            assert of_one.oldest_at is not None
            assert of_one.oldest_at >= noon - timedelta(milliseconds=1)
            since = {one.partition: one for one in await history.stretches(scene.address, from_at=began_at)}
            assert since[of_one.partition].expired == backing.tells_what_was_deleted
            assert since[of_one.partition].oldest_at == of_one.oldest_at
            assert numbers(await read(history, [of_one])) == list(range(20, 25))
            with pytest.raises(Conflict, match=r"was d(eleted|ropped) before it was read"):
                await read(history, lost)


@promise
async def an_address_that_was_made_anew_is_another_one(backing: Backing) -> None:
    async with Scene(backing) as scene:
        bus = await scene.start(scene.recorder(commits=True))
        await scene.publish(bus, 20, keys=KEYS)
        async with opened(bus) as history:
            stretches = await history.stretches(scene.address)
        await bus.close()
        await backing.make_anew(scene.address)
        other = await scene.start(scene.recorder(commits=True))
        await scene.publish(other, 20, keys=KEYS)
        async with opened(other) as history:
            with pytest.raises(Conflict, match=r"anew|deleted"):
                await read(history, stretches)
