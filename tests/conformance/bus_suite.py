"""What every Bus promises.

Each promise is a function of a `Backing`; an implementation's test file runs every one of `PROMISES`:

    @pytest.mark.parametrize("promise", PROMISES, ids=name_of)
    async def test_mine(promise: Promise) -> None:
        await promise(MyBacking())
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from itertools import pairwise

import msgspec
import pytest
from faststream import FastStream

from contracts.errors import Conflict, Faults, LeaseLost, Transient, Unavailable
from contracts.message import CORRELATION_ID, Delivery, Envelope
from contracts.ports.bus import Assignment, Bus
from tests.conformance.bus_scene import Backing, Order, Recorder, Scene, ignore

Promise = Callable[[Backing], Awaitable[None]]
PROMISES: list[Promise] = []


def promise(function: Promise) -> Promise:
    PROMISES.append(function)
    return function


def name_of(function: Promise) -> str:
    return function.__name__


def _need(bus: Bus, capability: str) -> None:
    if not getattr(bus.capabilities, capability):
        pytest.skip(f"the {bus.capabilities.broker_name} bus declares {capability}=False")


# --- messages -----------------------------------------------------------------------------------------------------


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


# --- order and completeness ---------------------------------------------------------------------------------------


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


# --- sharing, joining, leaving ------------------------------------------------------------------------------------


@promise
async def members_of_a_group_share_the_partitions(backing: Backing) -> None:
    async with Scene(backing) as scene:
        first, second = scene.recorder(commits=True), scene.recorder(commits=True)
        bus = await scene.start(first)
        await scene.all_held(first)
        await scene.start(second)
        await scene.until(lambda: bool(second.held) and len(first.held) + len(second.held) == backing.partitions)
        await scene.until(lambda: abs(len(first.held) - len(second.held)) <= 1)
        assert not set(first.held) & set(second.held)
        await scene.publish(bus, 200)
        await scene.until(lambda: len(first.deliveries) + len(second.deliveries) >= 200)
        assert sorted(first.numbers + second.numbers) == list(range(200))
        assert first.numbers
        assert second.numbers


@promise
async def a_partition_that_moves_is_revoked_first_and_gets_a_higher_epoch(backing: Backing) -> None:
    async with Scene(backing) as scene:
        order: list[tuple[str, str, int]] = []

        def noting(name: str, recorder: Recorder) -> Recorder:
            async def assigned(assignment: Assignment) -> None:
                order.append(("assigned", name, assignment.partition.index))

            async def revoked(assignment: Assignment) -> None:
                order.append(("revoked", name, assignment.partition.index))

            recorder.on_assigned, recorder.on_revoked = assigned, revoked
            return recorder

        first, second = noting("first", scene.recorder()), noting("second", scene.recorder())
        await scene.start(first)
        await scene.all_held(first)
        before = {partition: assignment.epoch for partition, assignment in first.held.items()}
        await scene.start(second)
        await scene.until(lambda: bool(second.held) and len(first.held) + len(second.held) == backing.partitions)
        for partition, assignment in second.held.items():
            assert assignment.epoch > before[partition]
            index = partition.index
            assert order.index(("revoked", "first", index)) < order.index(("assigned", "second", index))


@promise
async def who_leaves_hands_over_what_it_did_not_commit(backing: Backing) -> None:
    async with Scene(backing) as scene:
        leaving, staying = scene.recorder(), scene.recorder()
        bus = await scene.start(leaving)
        await scene.all_held(leaving)
        other = await scene.start(staying)
        await scene.until(lambda: bool(staying.held) and len(leaving.held) + len(staying.held) == backing.partitions)
        await scene.publish(other, 100)
        await scene.until(lambda: len(set(leaving.numbers) | set(staying.numbers)) == 100)
        unfinished = {number for number, held in _with_holder(leaving) if held}
        await bus.close()
        assert not leaving.held
        await scene.all_held(staying)
        await scene.until(lambda: unfinished <= set(staying.numbers))
        assert set(staying.numbers) == set(range(100))
        if other.capabilities.counts_deliveries:
            again = [d for d, number in zip(staying.deliveries, staying.numbers, strict=True) if number in unfinished]
            assert {delivery.deliveries for delivery in again} == {2}


def _with_holder(recorder: Recorder) -> list[tuple[int, bool]]:
    """Each number that arrived, and whether its partition is still held."""
    arrived = zip(recorder.deliveries, recorder.numbers, strict=True)
    return [(number, delivery.partition in recorder.held) for delivery, number in arrived]


@promise
async def who_crashes_loses_nothing(backing: Backing) -> None:
    async with Scene(backing) as scene:
        doomed, heir = scene.recorder(), scene.recorder()
        bus = await scene.start(doomed)
        await scene.all_held(doomed)
        envelopes = await scene.publish(bus, 100, keys=[f"k{number}" for number in range(25)])
        await scene.until(lambda: len(doomed.deliveries) == 100)
        stale = dict(doomed.held)
        await scene.crash(bus)
        assert not doomed.revocations, "whoever died can't have been asked"
        await scene.start(heir)
        await scene.until(lambda: len(set(heir.numbers)) == 100)
        assert {delivery.envelope.id for delivery in heir.deliveries} == {envelope.id for envelope in envelopes}
        for partition, assignment in stale.items():
            assert heir.held[partition].epoch > assignment.epoch
            with pytest.raises(LeaseLost):
                await assignment.commit(1)


@promise
async def what_is_committed_does_not_come_again(backing: Backing) -> None:
    async with Scene(backing) as scene:
        first = scene.recorder()
        bus = await scene.start(first)
        await scene.publish(bus, 60, keys=["one"])
        await scene.until(lambda: len(first.deliveries) == 60)
        [assignment] = [first.held[partition] for partition in {delivery.partition for delivery in first.deliveries}]
        await assignment.commit(first.deliveries[39].position + 1)
        await assignment.commit(first.deliveries[9].position + 1)  # going back is a no-op
        await bus.close()
        second = scene.recorder()
        await scene.start(second)
        await scene.until(lambda: len(second.deliveries) >= 20)
        await backing.quiet()
        assert second.numbers == list(range(40, 60))


@promise
async def what_is_committed_while_revoked_counts(backing: Backing) -> None:
    async with Scene(backing) as scene:
        first = scene.recorder()

        async def finish(assignment: Assignment) -> None:
            mine = [d.position for d in first.deliveries if d.partition == assignment.partition]
            await assignment.commit(max(mine, default=-1) + 1)

        first.on_revoked = finish
        bus = await scene.start(first)
        await scene.publish(bus, 40)
        await scene.until(lambda: len(first.deliveries) == 40)
        await bus.close()
        second = scene.recorder()
        other = await scene.start(second)
        await scene.publish(other, 1)
        await scene.until(lambda: bool(second.deliveries))
        await backing.quiet()
        assert second.numbers == [40]


@promise
async def a_commit_in_assigned_says_where_to_begin(backing: Backing) -> None:
    async with Scene(backing) as scene:
        first = scene.recorder()
        bus = await scene.start(first)
        await scene.publish(bus, 30, keys=["one"])
        await scene.until(lambda: len(first.deliveries) == 30)
        stored = first.deliveries[20]
        await bus.close()

        async def begin(assignment: Assignment) -> None:
            if assignment.partition == stored.partition:
                await assignment.commit(stored.position)

        second = scene.recorder()
        second.on_assigned = begin
        await scene.start(second)
        await scene.until(lambda: len(second.deliveries) >= 10)
        await backing.quiet()
        assert second.numbers == list(range(20, 30))


@promise
async def an_assignment_that_is_over_refuses(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        await scene.all_held(recorder)
        await scene.publish(bus, 1, keys=["one"])
        await scene.until(lambda: len(recorder.deliveries) == 1)
        [delivery] = recorder.deliveries
        assignment = recorder.held[delivery.partition]
        await bus.close()
        with pytest.raises(LeaseLost, match=scene.address):
            await assignment.commit(delivery.position + 1)
        with pytest.raises(LeaseLost):
            await assignment.release([delivery.position])
        assignment.pause("late")
        assignment.resume("late")
        heir = scene.recorder()
        await scene.start(heir)
        await scene.until(lambda: len(heir.deliveries) == 1)


@promise
async def a_consumer_that_does_not_let_go_is_cut_off(backing: Backing) -> None:
    async with Scene(backing) as scene:
        clinging, heir = scene.recorder(), scene.recorder(commits=True)
        began, cut = asyncio.Event(), asyncio.Event()

        async def cling(assignment: Assignment) -> None:
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
        for assignment in stale.values():
            with pytest.raises(LeaseLost):
                await assignment.commit(1)


@promise
async def a_partition_whose_consumer_fails_to_take_it_is_offered_again(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        failures = 0
        failed = asyncio.Event()

        async def fail_once(assignment: Assignment) -> None:
            nonlocal failures
            if failures < 1:
                failures += 1
                failed.set()
                raise Unavailable("the ledger", "no route to host")

        recorder.on_assigned = fail_once
        bus = await scene.start(recorder)
        await scene.publish(bus, 40)
        await failed.wait()
        await backing.quiet()
        with pytest.raises(Unavailable, match="no route to host"):
            await bus.check()
        await backing.let_pass(5)
        await scene.until(lambda: len(recorder.deliveries) == 40)
        assert sorted(recorder.numbers) == list(range(40))
        await bus.check()


# --- pausing, releasing, stopping ---------------------------------------------------------------------------------


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


# --- delay and bounds ---------------------------------------------------------------------------------------------


@promise
async def a_delayed_message_waits_for_its_instant(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        _need(bus, "delay")
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


# --- life ---------------------------------------------------------------------------------------------------------


@promise
async def a_bus_that_is_not_open_says_so(backing: Backing) -> None:
    async with Scene(backing) as scene:
        bus = scene.unopened()
        with pytest.raises(Unavailable, match="open"):
            await bus.publish(scene.envelope(b"{}"))
        with pytest.raises(Unavailable):
            await bus.check()
        await bus.open()
        await bus.check()
        await bus.publish(scene.envelope(b"{}"))
        await bus.close()
        with pytest.raises(Unavailable):
            await bus.publish(scene.envelope(b"{}"))
        with pytest.raises(Unavailable):
            await bus.check()
        assert bus.address


@promise
async def routes_are_mounted_once_and_before_the_start(backing: Backing) -> None:
    async with Scene(backing) as scene:
        bus = scene.unopened(scene.recorder())
        with pytest.raises(Faults, match="twice"):
            bus.mount(scene.recorder(), schema={})
        await bus.open()
        await bus.start()
        with pytest.raises(Conflict, match="before `start`"):
            bus.mount(scene.recorder(group="late"), schema={})


@promise
async def a_route_is_documented_with_its_schema(backing: Backing) -> None:
    async with Scene(backing) as scene:
        bus = scene.unopened(scene.recorder())
        document = json.loads(FastStream(bus.broker).schema.to_specification().to_json())
        assert document["asyncapi"].startswith("3.")
        [channel] = [item for item in document["channels"].values() if item["address"] == scene.address]
        [message] = [document["components"]["messages"][_last(ref["$ref"])] for ref in channel["messages"].values()]
        payload = document["components"]["schemas"][_last(message["payload"]["$ref"])]
        assert payload == msgspec.json.schema(Order)["$defs"]["Order"]
        assert channel["description"] == "Take an order."
        assert [op["action"] for op in document["operations"].values()] == ["receive"]


def _last(reference: str) -> str:
    return reference.rpartition("/")[2]


# --- everything at once -------------------------------------------------------------------------------------------


@promise
async def members_come_go_and_die_and_every_message_is_finished_in_order(backing: Backing) -> None:
    dice = random.Random(20260101)
    keys = [f"k{number}" for number in range(40)]
    async with Scene(backing) as scene:
        publisher = scene.unopened()
        await publisher.open()
        recorders: list[Recorder] = []
        alive: list[Bus] = []
        total = 0
        for _ in range(12):
            if len(alive) < 2 or dice.random() < 0.5:
                recorders.append(scene.recorder(commits=dice.random() < 0.8))
                alive.append(await scene.start(recorders[-1]))
            elif dice.random() < 0.5:
                await alive.pop(dice.randrange(len(alive))).close()
            else:
                await scene.crash(alive.pop(dice.randrange(len(alive))))
            await scene.publish(publisher, 40, keys=keys)
            total += 40
        for bus in alive:
            await bus.close()
        last = scene.recorder(commits=True)
        recorders.append(last)
        await scene.start(last)
        await scene.until(lambda: len({number for each in recorders for number in each.numbers}) == total)
        for recorder in recorders:
            _assert_order_within_each_life(recorder)


def _assert_order_within_each_life(recorder: Recorder) -> None:
    last: dict[tuple[str | None, int], int] = {}
    for delivery, number in zip(recorder.deliveries, recorder.numbers, strict=True):
        if delivery.deliveries == 1:
            lane = (delivery.envelope.key, delivery.partition.index)
            assert last.get(lane, -1) < number, f"{lane} went back"
            last[lane] = number
