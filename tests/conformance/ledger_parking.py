"""What parking promises."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from contracts.errors import LeaseLost
from contracts.message import Envelope, Partition
from contracts.ports.parking import Parked, ToPark
from contracts.ports.partitions import Hold
from tests.conformance.ledger_world import World

P0, P1 = Partition("orders", 0), Partition("orders", 1)
ODD = "\x00\ufffe" + "ü" * 3000


async def hold_of(world: World, partition: Partition = P0, worker_id: str = "w1") -> Hold:
    taken = await world.ledger.partitions.take("g", partition, worker_id=worker_id, incarnation="i")
    return taken.hold


def message(position: int, lane: str | None = None, **more: Any) -> ToPark:
    envelope = Envelope(id=f"m{position}", address="orders", body=b"{}")
    return ToPark(**{"envelope": envelope, "position": position, "lane": lane, **more})


def at(found: Sequence[Parked]) -> list[int]:
    return [one.position for one in found]


def suspects(found: Sequence[Parked]) -> list[int]:
    return sorted(one.position for one in found if one.suspect)


async def due(world: World, *holds: Hold, limit: int = 100) -> list[Parked]:
    return await world.ledger.parking.due(holds, limit=limit)


async def what_is_parked_comes_back_whole(world: World) -> None:
    hold = await hold_of(world)
    [now] = [one.taken_at for one in await world.ledger.partitions.holdings()]
    assert now is not None
    envelope = Envelope(
        id=ODD,
        address="orders",
        body=b"\x00\xff",
        key=ODD,
        headers={ODD: ODD, "a": ""},
        correlation_id="c",
        published_at=now,
        not_before=now + timedelta(seconds=5),
        priority=3,
    )
    highest = 2**127 - 1
    await world.ledger.parking.park(
        hold, [ToPark(envelope=envelope, position=highest, lane=ODD, attempt=3, error="e\x00" * 9999)]
    )
    [parked] = await world.twin.parking.due([hold], limit=5)
    assert (parked.envelope, parked.position, parked.lane) == (envelope, highest, ODD)
    assert (parked.attempt, parked.hold, parked.suspect) == (3, hold, False)
    assert parked.error.startswith("e\ufffd")
    assert await world.twin.parking.lanes(hold) == {ODD}
    assert await world.twin.parking.lanes(hold, among=["a", ODD]) == {ODD}


async def parking_finishes(world: World) -> None:
    hold = await hold_of(world)
    await world.ledger.parking.park(hold, [message(4), message(2), message(3), message(9)])
    await world.ledger.parking.park(hold, [])
    taken = await world.ledger.partitions.take("g", P0, worker_id="w1", incarnation="i")
    assert taken.finished == ((2, 5), (9, 10))
    assert at(await due(world, taken.hold)) == [4, 2, 3, 9]
    [holding] = await world.ledger.partitions.holdings()
    assert holding.parked == 4


async def what_was_finished_is_not_parked(world: World) -> None:
    hold = await hold_of(world)
    await world.ledger.partitions.finish(hold, (4, 6))
    for messages in ([message(3), message(5)], [message(4), message(3)]):
        with pytest.raises(LeaseLost, match="finished before"):
            await world.ledger.parking.park(hold, messages)
    assert await due(world, hold) == []
    assert (await world.ledger.partitions.known(hold, positions=[3, 4])).positions == {4}


async def everything_is_fenced(world: World) -> None:
    parking = world.ledger.parking
    old = await hold_of(world)
    await parking.park(old, [message(1, "a"), message(2)])
    [first, second] = await due(world, old)
    hold = await hold_of(world, worker_id="w2")
    assert await due(world, old) == []
    assert await parking.next_due_s([old]) is None
    for call in (
        parking.park(old, [message(3)]),
        parking.park(old, [message(3, "a")]),
        parking.lanes(old),
        parking.lanes(old, among=["a"]),
        parking.lanes(old, among=[]),
        parking.postpone(first, attempt=2, after_s=0),
        parking.charge(first),
        parking.remove(first),
        parking.remove(second),
    ):
        with pytest.raises(LeaseLost, match="orders/0 of group g"):
            await call
    for one in (first, second):
        with pytest.raises(LeaseLost):
            async with parking.transaction(one, name="x"):
                pass
    assert at(await due(world, old, hold)) == [1, 2]
    assert [one.attempt for one in await due(world, hold)] == [1, 1]


async def a_lane_leaves_in_order(world: World) -> None:
    parking = world.ledger.parking
    hold = await hold_of(world)
    await parking.park(hold, [message(1, "a", after_s=60), message(2, "a"), message(3, "b"), message(4), message(5)])
    await parking.park(hold, [message(6, "a"), message(7, ""), message(8, "")])
    assert await parking.lanes(hold) == {"a", "b", ""}
    assert await parking.lanes(hold, among=["a", "c", ""]) == {"a", ""}
    assert await parking.lanes(hold, among=[]) == frozenset()
    assert at(await due(world, hold)) == [3, 4, 5, 7]
    assert at(await due(world, hold)) == [3, 4, 5, 7], "until they are removed"
    for one in await due(world, hold):
        await parking.remove(one)
    assert await parking.lanes(hold) == {"a", ""}
    assert at(await due(world, hold)) == [8]
    await world.age(61)
    order = []
    while found := [one for one in await due(world, hold) if one.lane == "a"]:
        order += at(found)
        await parking.remove(found[0])
    assert order == [1, 2, 6]
    assert await parking.lanes(hold) == {""}


async def those_without_a_lane_wait_for_nobody(world: World) -> None:
    hold = await hold_of(world)
    await world.ledger.parking.park(hold, [message(1, after_s=60), message(2), message(3, after_s=30)])
    assert at(await due(world, hold)) == [2]
    assert await world.ledger.parking.lanes(hold) == frozenset()
    await world.age(61)
    assert at(await due(world, hold)) == [2, 3, 1] or at(await due(world, hold)) == [3, 1, 2]
    assert len(await due(world, hold, limit=2)) == 2


async def it_is_known_when_the_next_is_due(world: World) -> None:
    parking = world.ledger.parking
    hold, beside = await hold_of(world), await hold_of(world, P1)
    assert await parking.next_due_s([]) is None
    assert await parking.next_due_s([hold, beside]) is None
    [now] = [one.taken_at for one in await world.ledger.partitions.holdings() if one.partition == P1]
    assert now is not None
    await parking.park(hold, [message(1, "a", due_at=now + timedelta(seconds=500)), message(2, "a")])
    wait_s = await parking.next_due_s([hold, beside])
    assert wait_s is not None
    assert 490 < wait_s <= 500, "what is behind doesn't count"
    await parking.park(beside, [message(1, after_s=50)])
    wait_s = await parking.next_due_s([hold, beside])
    assert wait_s is not None
    assert 40 < wait_s <= 50
    await world.age(60)
    wait_s = await parking.next_due_s([hold, beside])
    assert wait_s is not None
    assert wait_s <= 0
    assert await parking.next_due_s([Hold("h", P0, 1)]) is None


async def what_was_postponed_comes_later(world: World) -> None:
    parking = world.ledger.parking
    hold = await hold_of(world)
    await parking.park(hold, [message(1, "a"), message(2, "a"), message(3)])
    first, third = await due(world, hold)
    await parking.postpone(first, attempt=2, after_s=60, error="no")
    assert at(await due(world, hold)) == [3]
    await parking.remove(third)
    await parking.postpone(third, attempt=2, after_s=0)  # it is gone, and stays so
    await world.age(61)
    [again] = await due(world, hold)
    assert (again.position, again.attempt, again.error, again.number) == (1, 2, "no", first.number)


async def a_transaction_removes_with_its_effects(world: World) -> None:
    parking = world.ledger.parking
    hold = await hold_of(world)
    await parking.park(hold, [message(1, "a"), message(2, "a"), message(3)])
    first, third = await due(world, hold)
    with pytest.raises(ZeroDivisionError):
        async with parking.transaction(first, name="x"):
            raise ZeroDivisionError
    for one in (first, third):
        async with parking.transaction(one, name="x"):
            assert len(await due(world, hold)) == 2
    [second] = await due(world, hold)
    assert second.position == 2
    for one in (first, third):
        with pytest.raises(LeaseLost):
            async with parking.transaction(one, name="x"):
                pass
        await parking.remove(one)
    async with parking.transaction(second, name="x"):
        pass
    assert await parking.lanes(hold) == frozenset()
    assert await due(world, hold) == []


async def the_id_of_a_parked_message_is_seen_with_its_end(world: World) -> None:
    parking = world.ledger.parking
    hold = await hold_of(world)
    await parking.park(hold, [message(1), message(2), message(3)])
    first, second, third = await due(world, hold)
    async with parking.transaction(first, name="x", ids=["a"], dedupe_s=60):
        pass
    assert (await world.ledger.partitions.known(hold, ids=["a"])).ids == {"a"}
    with pytest.raises(LeaseLost):
        async with parking.transaction(second, name="x", ids=["a"], dedupe_s=60):
            pass
    async with parking.transaction(third, name="x", ids=["a"]):
        pass
    assert at(await due(world, hold)) == [2]


async def a_transaction_during_which_the_partition_was_taken_removes_nothing(world: World) -> None:
    parking = world.ledger.parking
    hold = await hold_of(world)
    await parking.park(hold, [message(1, "a"), message(2)])
    for one in await due(world, hold):
        with pytest.raises(LeaseLost):
            async with parking.transaction(one, name="x"):
                hold = await hold_of(world, worker_id="w2")
    assert at(await due(world, hold)) == [1, 2]


async def what_may_kill_is_charged(world: World) -> None:
    hold = await hold_of(world)
    await world.ledger.parking.park(hold, [message(1, "a")])
    [one] = await due(world, hold)
    assert [await world.ledger.parking.charge(one) for _ in range(2)] == [1, 1], "the first answer may have been lost"
    hold = await hold_of(world, worker_id="w2")
    [one] = await world.twin.parking.due([hold], limit=1)
    assert await world.ledger.parking.charge(one) == 2
    await world.ledger.parking.remove(one)
    with pytest.raises(LeaseLost, match="waits no more"):
        await world.ledger.parking.charge(one)


async def what_came_back_is_not_charged_for_that(world: World) -> None:
    parking = world.ledger.parking
    hold = await hold_of(world)
    await parking.park(hold, [message(1, "a")])
    [first] = await due(world, hold)
    assert await parking.charge(first) == 1
    hold = await hold_of(world, worker_id="w2")
    [second] = await due(world, hold)
    assert await parking.charge(second) == 2
    for _ in range(2):
        await parking.acquit(first)
    assert await parking.charge(second) == 1, "it says so late, when others hold the partition"
    await parking.postpone(second, attempt=2, after_s=0)
    hold = await hold_of(world, worker_id="w3")
    [third] = await due(world, hold)
    assert await parking.charge(third) == 1, "what is postponed came back"
    await parking.remove(third)
    await parking.acquit(third)


async def what_waits_since_before_a_death_is_suspect_until_it_came_back(world: World) -> None:
    """Through any number of clean ends."""
    parking, partitions = world.ledger.parking, world.ledger.partitions
    hold = await hold_of(world)
    await parking.park(hold, [message(1, "a"), message(2), message(3)])
    assert suspects(await due(world, await hold_of(world))) == [], "it knows what it had"
    hold = await hold_of(world, worker_id="w2")
    found = await due(world, hold)
    assert suspects(found) == [1, 2, 3]
    await parking.park(hold, [message(4)])
    await parking.postpone(found[0], attempt=2, after_s=0)
    await parking.charge(found[1])
    await parking.acquit(found[1])
    for n in range(3, 5):
        await partitions.leave(hold, position=4)
        hold = (await world.twin.partitions.take("g", P0, worker_id=f"w{n}", incarnation="i")).hold
        assert suspects(await due(world, hold)) == [2, 3], "who leaves has not tried them all"
    hold = await hold_of(world, worker_id="w9")
    assert suspects(await due(world, hold)) == [1, 2, 3, 4], "another death"


async def what_waits_outlives_its_holders(world: World) -> None:
    hold = await hold_of(world)
    await world.ledger.parking.park(hold, [message(1, "a"), message(2, "a"), message(3)])
    await world.ledger.partitions.leave(hold, position=4)
    hold = await hold_of(world, worker_id="w2")
    assert at(await due(world, hold)) == [1, 3]
    assert await world.ledger.parking.lanes(hold) == {"a"}
    await world.ledger.partitions.reset("g", "orders", to=0)
    assert at(await due(world, await hold_of(world))) == [1, 3]


async def partitions_and_groups_are_apart(world: World) -> None:
    hold, beside = await hold_of(world), await hold_of(world, P1)
    other = (await world.ledger.partitions.take("h", P0, worker_id="w1", incarnation="i")).hold
    for number, one in enumerate((hold, beside, other)):
        await world.ledger.parking.park(one, [message(number, "a")])
    assert at(await due(world, hold)) == [0]
    found = await due(world, other, beside)
    assert {one.position: one.hold for one in found} == {1: beside, 2: other}
    assert at(await due(world, hold, beside, other, limit=2)) == [0, 1], "the oldest first"
    await world.ledger.parking.remove(found[0])
    assert await world.ledger.parking.lanes(hold) == {"a"}


async def a_lane_never_gets_stuck(world: World) -> None:
    """While some are parked behind, others are removed: what is left is always found again."""
    hold = await hold_of(world)
    left: set[int] = set()

    async def park(n: int) -> None:
        parking = (world.ledger, world.twin)[n % 2].parking
        for turn in range(6):
            position = 10 * n + turn
            await parking.park(hold, [message(position, f"lane {turn % 2}")])
            left.add(position)

    async def remove(parked: Parked, n: int) -> None:
        parking = (world.ledger, world.twin)[n % 2].parking
        if n % 3:
            await parking.remove(parked)
        else:
            async with parking.transaction(parked, name="x"):
                pass
        left.discard(parked.position)

    async def take_out() -> None:
        for n in range(40):
            found = await due(world, hold)
            await asyncio.gather(*(remove(one, n) for one in found))

    await asyncio.gather(*(park(n) for n in range(4)), take_out())
    lanes: dict[str | None, list[int]] = {}
    while found := await due(world, hold):
        assert len(found) <= 2
        for one in found:
            lanes.setdefault(one.lane, []).append(one.number)
            await remove(one, 1)
    assert left == set()
    assert all(numbers == sorted(numbers) for numbers in lanes.values())
    assert await world.ledger.parking.lanes(hold) == frozenset()


async def what_waits_for_a_process_whose_bus_went_with_it_is_taken_over(world: World) -> None:
    holds = {}
    for worker_id in ("w1", "w2"):
        await world.join(worker_id)
        taken = await world.ledger.partitions.take(
            "g", P0, worker_id=worker_id, incarnation=f"of {worker_id}", durable=False
        )
        holds[worker_id] = taken.hold
        await world.ledger.parking.park(taken.hold, [message(int(worker_id[1:]))])
    await world.ledger.partitions.prune()
    assert at(await due(world, holds["w2"])) == [2], "the other one lives"
    await world.ledger.partitions.leave(holds["w1"], position=None)
    await world.ledger.partitions.prune()
    assert sorted(at(await due(world, holds["w2"]))) == [1, 2]


PROMISES = [
    what_is_parked_comes_back_whole,
    parking_finishes,
    what_was_finished_is_not_parked,
    everything_is_fenced,
    a_lane_leaves_in_order,
    those_without_a_lane_wait_for_nobody,
    it_is_known_when_the_next_is_due,
    what_was_postponed_comes_later,
    a_transaction_removes_with_its_effects,
    the_id_of_a_parked_message_is_seen_with_its_end,
    a_transaction_during_which_the_partition_was_taken_removes_nothing,
    what_may_kill_is_charged,
    what_came_back_is_not_charged_for_that,
    what_waits_since_before_a_death_is_suspect_until_it_came_back,
    what_waits_outlives_its_holders,
    what_waits_for_a_process_whose_bus_went_with_it_is_taken_over,
    partitions_and_groups_are_apart,
    a_lane_never_gets_stuck,
]
