"""What positions promise."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from contracts.errors import BadInput, Conflict, LeaseLost
from contracts.message import Partition
from contracts.ports.partitions import Hold, Known, Reported, Taken
from tests.conformance.ledger_world import World

GROUP = "g"
P0, P1 = Partition("orders", 0), Partition("orders", 1)
HIGHEST = 2**127 - 1


async def take(world: World, partition: Partition = P0, worker_id: str = "w1", **more: object) -> Taken:
    fields = {"incarnation": "i", **more}
    return await world.ledger.partitions.take(GROUP, partition, worker_id=worker_id, **fields)  # type: ignore[arg-type]


async def finish(world: World, hold: Hold, *positions: int) -> None:
    for position in positions:
        await world.ledger.partitions.finish(hold, (position, position + 1))


def said(hold: Hold, position: int | None = None, reach: int = 0, **more: int) -> Reported:
    return Reported(hold=hold, position=position, reach=reach, **more)


async def nothing_is_known_of_a_new_partition(world: World) -> None:
    first = await take(world)
    assert first == Taken(hold=Hold(GROUP, P0, first.hold.epoch))
    other = await take(world, P1)
    assert (other.hold.partition, other.position) == (P1, None)
    elsewhere = await world.ledger.partitions.take("h", P0, worker_id="w1", incarnation="i")
    assert elsewhere.hold.group == "h"
    await finish(world, first.hold, 5)
    assert await world.twin.partitions.known(elsewhere.hold, positions=[5]) == Known(frozenset(), frozenset())


async def each_taking_raises_the_epoch_and_fences_those_before(world: World) -> None:
    old = (await take(world)).hold
    await finish(world, old, 0)
    new = (await world.twin.partitions.take(GROUP, P0, worker_id="w2", incarnation="i")).hold
    assert new.epoch > old.epoch
    partitions = world.ledger.partitions
    with pytest.raises(LeaseLost, match="orders/0 of group g"):
        await finish(world, old, 1)
    with pytest.raises(LeaseLost):
        async with partitions.transaction(old, (1, 2), name="x"):
            pass
    with pytest.raises(LeaseLost):
        await partitions.charge(old, 1)
    assert await partitions.report([said(old, 1, 1), said(new, 1, 1)]) == [False, True]
    assert not await partitions.leave(old, position=3)
    taken = await take(world, worker_id="w2")
    assert (taken.position, taken.finished) == (1, ())


async def what_is_finished_is_known_to_the_next(world: World) -> None:
    hold = (await take(world)).hold
    await finish(world, hold, 7, 3, 4, HIGHEST)
    async with world.ledger.partitions.transaction(hold, (10, 20), name="batch"):
        pass
    async with world.ledger.partitions.transaction(hold, (20, 25), name="batch"):
        pass
    known = await world.twin.partitions.known(hold, positions=[2, 3, 4, 5, 9, 10, 19, 24, 25, HIGHEST])
    assert known.positions == {3, 4, 10, 19, 24, HIGHEST}
    for _ in range(2):
        taken = await take(world, worker_id="w2")
        assert taken.finished == ((3, 5), (7, 8), (10, 25), (HIGHEST, HIGHEST + 1))
        assert taken.position is None
    assert await world.twin.partitions.known(hold, positions=[2, 3, 22]) == Known(frozenset({3, 22}), frozenset())


async def nothing_is_finished_twice(world: World) -> None:
    partitions = world.ledger.partitions
    hold = (await take(world)).hold
    await partitions.finish(hold, (10, 20))
    for span in [(10, 20), (10, 11), (19, 20), (12, 14), (5, 11), (19, 30), (5, 30)]:
        with pytest.raises(LeaseLost, match="finished before"):
            await partitions.finish(hold, span)
    hold = (await take(world)).hold
    for span in [(10, 11), (12, 14), (5, 11)]:
        with pytest.raises(LeaseLost):
            async with partitions.transaction(hold, span, name="x"):
                pass
    await partitions.finish(hold, (5, 10))
    await partitions.finish(hold, (20, 21))
    await partitions.report([said(hold, 21, 30)])
    for span in [(5, 6), (20, 22), (3, 4)]:
        with pytest.raises(LeaseLost):
            await partitions.finish(hold, span)
    await finish(world, hold, 21)
    assert (await take(world)).finished == ((21, 22),)


async def messages_around_what_was_finished_are_finished_together(world: World) -> None:
    partitions = world.ledger.partitions
    hold = (await take(world)).hold
    await partitions.finish(hold, (4, 6))
    with pytest.raises(LeaseLost):
        async with partitions.transaction(hold, (0, 9), name="x"):
            pass
    with pytest.raises(LeaseLost):
        async with partitions.transaction(hold, (0, 4), name="x", besides=[(7, 9), (5, 7)]):
            pass
    assert (await take(world)).finished == ((4, 6),)
    hold = (await take(world)).hold
    async with partitions.transaction(hold, (6, 9), name="x", besides=[(0, 3), (3, 4), (10, 11)]):
        pass
    assert (await take(world)).finished == ((0, 9), (10, 11))


async def spans_are_checked(world: World) -> None:
    hold = (await take(world)).hold
    for span in [(5, 5), (6, 5), (-1, 3), (0, 2**127 + 1)]:
        with pytest.raises(ValueError, match="span"):
            await world.ledger.partitions.finish(hold, span)
        with pytest.raises(ValueError, match="span"):
            world.ledger.partitions.transaction(hold, span, name="x")
    with pytest.raises(ValueError, match="in common"):
        world.ledger.partitions.transaction(hold, (0, 5), name="x", besides=[(4, 6)])


async def names_that_cannot_be_kept_are_refused(world: World) -> None:
    for group, address in [("", "a"), ("g\x00", "a"), ("g", "")]:
        with pytest.raises(BadInput):
            await world.ledger.partitions.take(group, Partition(address, 0), worker_id="w", incarnation="i")


async def a_transaction_that_raises_finishes_nothing(world: World) -> None:
    hold = (await take(world)).hold
    with pytest.raises(ZeroDivisionError):
        async with world.ledger.partitions.transaction(hold, (0, 5), name="x", ids=["a"], dedupe_s=60):
            raise ZeroDivisionError
    assert await world.twin.partitions.known(hold, positions=range(5), ids=["a"]) == Known(frozenset(), frozenset())
    async with world.ledger.partitions.transaction(hold, (0, 5), name="x"):
        seen = await world.twin.partitions.known(hold, positions=[0])
        assert seen.positions == frozenset(), "it is finished when its block has ended"
    assert (await take(world)).finished == ((0, 5),)


async def a_transaction_during_which_the_partition_was_taken_finishes_nothing(world: World) -> None:
    hold = (await take(world)).hold
    with pytest.raises(LeaseLost):
        async with world.ledger.partitions.transaction(hold, (0, 5), name="x"):
            new = await world.twin.partitions.take(GROUP, P0, worker_id="w2", incarnation="i")
    assert new.finished == ()
    assert await world.ledger.partitions.known(hold, positions=range(5)) == Known(frozenset(), frozenset())


async def ids_are_seen_for_their_time(world: World) -> None:
    partitions = world.ledger.partitions
    hold, beside = (await take(world)).hold, (await take(world, P1)).hold
    strange = "\x00" + "x" * 3000
    async with partitions.transaction(hold, (0, 3), name="x", ids=["b", "a", strange, "a"], dedupe_s=60):
        pass
    assert await world.twin.partitions.known(beside, ids=["a", "c", strange]) == Known(
        frozenset(), frozenset({"a", strange})
    )
    with pytest.raises(LeaseLost):
        async with partitions.transaction(beside, (0, 2), name="x", ids=["c", "a"], dedupe_s=60):
            pass
    assert await partitions.known(beside, positions=[0], ids=["c"]) == Known(frozenset(), frozenset())
    async with partitions.transaction(beside, (0, 2), name="x", ids=["a"]):
        pass  # without a time nothing is asked of them
    await world.age(61)
    assert (await partitions.known(hold, ids=["a"])).ids == frozenset()
    async with partitions.transaction(beside, (2, 3), name="x", ids=["a"], dedupe_s=60):
        pass
    assert (await partitions.known(hold, ids=["a", "b"])).ids == {"a"}


async def seen_ids_are_forgotten_after_their_time(world: World) -> None:
    partitions = world.ledger.partitions
    hold = (await take(world)).hold
    for n in range(5):
        async with partitions.transaction(hold, (n, n + 1), name="x", ids=[f"m{n}"], dedupe_s=60 if n else 600):
            pass
    assert await partitions.prune() == 0
    await world.age(61)
    assert [await partitions.prune(batch=3) for _ in range(3)] == [3, 1, 0]
    assert (await partitions.known(hold, ids=["m0", "m1"])).ids == {"m0"}


async def reports_move_on_and_never_back(world: World) -> None:
    partitions = world.ledger.partitions
    hold, beside = (await take(world)).hold, (await take(world, P1)).hold
    await finish(world, hold, 0, 1, 2, 5)
    assert await partitions.report([said(hold, 3, 50, lag=7, open=2), said(beside, None, 9)]) == [True, True]
    assert await partitions.report([said(hold, 2, 40)]) == [True]
    assert await partitions.report([]) == []
    assert await partitions.report([said(hold, 3, 50), said(hold, 3, 50)]) == [True, True]
    taken = await take(world, worker_id="w2")
    assert (taken.position, taken.finished, taken.suspects_below) == (3, ((5, 6),), 50)
    assert (await take(world, P1, worker_id="w2")).suspects_below == 9
    stranger = Hold("nobody", P0, 1)
    assert await partitions.report([said(stranger, 1), said(taken.hold, HIGHEST, HIGHEST)]) == [False, True]
    assert (await take(world, worker_id="w2")).position == HIGHEST


async def where_the_bus_keeps_positions_what_is_needless_is_forgotten(world: World) -> None:
    hold = (await take(world)).hold
    await finish(world, hold, 1, 2, 8)
    await world.ledger.partitions.charge(hold, 3)
    await world.ledger.partitions.charge(hold, 9)
    await world.ledger.partitions.report([said(hold, None, 10, needless_below=5)])
    taken = await take(world)
    assert (taken.position, taken.finished) == (None, ((8, 9),))
    assert [await world.ledger.partitions.charge(taken.hold, at) for at in (3, 9)] == [1, 2]


async def after_a_clean_end_nobody_is_suspect(world: World) -> None:
    partitions = world.ledger.partitions
    hold = (await take(world)).hold
    await finish(world, hold, 12)
    await partitions.report([said(hold, 10, 40)])
    assert await world.twin.partitions.leave(hold, position=11, finished=[(13, 15), (20, 21), (12, 14)])
    [holding] = await partitions.holdings()
    assert (holding.worker_id, holding.position) == (None, 11)
    taken = await take(world, worker_id="w2")
    assert (taken.position, taken.finished, taken.suspects_below) == (11, ((12, 15), (20, 21)), None)
    with pytest.raises(LeaseLost):
        await finish(world, taken.hold, 14)


async def a_hold_that_was_left_can_be_left_again(world: World) -> None:
    """The first answer may have been lost."""
    hold = (await take(world)).hold
    assert await world.ledger.partitions.leave(hold, position=None, finished=[(1, 2)])
    assert await world.ledger.partitions.leave(hold, position=None, finished=[(1, 2)])
    assert (await take(world)).finished == ((1, 2),)


async def what_a_dead_holder_had_is_suspect_until_someone_leaves(world: World) -> None:
    partitions = world.ledger.partitions
    first = (await take(world)).hold
    assert (await take(world)).suspects_below is None, "it knows what it had"
    first = (await take(world)).hold
    await partitions.report([said(first, 3, 50)])
    second = await take(world, worker_id="w2")
    assert (second.position, second.suspects_below) == (3, 50)
    assert (await take(world, worker_id="w2")).suspects_below == 50, "it has not come to an end with them"
    third = await take(world, worker_id="w3")
    assert third.suspects_below == 50
    await partitions.report([said(third.hold, 40, 70)])
    assert (await take(world, worker_id="w4")).suspects_below == 70
    last = await take(world, worker_id="w4")
    await partitions.leave(last.hold, position=40)
    assert (await take(world, worker_id="w5")).suspects_below is None


async def suspects_are_charged_until_they_are_finished(world: World) -> None:
    partitions = world.ledger.partitions
    hold = (await take(world)).hold
    assert [await partitions.charge(hold, at) for at in (4, 5, 6, HIGHEST)] == [1, 1, 1, 1]
    hold = (await take(world, worker_id="w2")).hold
    assert [await partitions.charge(hold, at) for at in (5, HIGHEST)] == [2, 2]
    assert [await partitions.charge(hold, at) for at in (5, HIGHEST)] == [2, 2], "the first answer may have been lost"
    await finish(world, hold, 5)
    await partitions.report([said(hold, 5, 5)])
    hold = (await world.twin.partitions.take(GROUP, P0, worker_id="w2", incarnation="i")).hold
    assert [await partitions.charge(hold, at) for at in (4, 6, HIGHEST)] == [1, 2, 3]


async def a_suspect_that_came_back_is_not_charged_for_that(world: World) -> None:
    partitions = world.ledger.partitions
    first = (await take(world)).hold
    assert [await partitions.charge(first, at) for at in (4, 5)] == [1, 1]
    for _ in range(2):
        await partitions.acquit(first, 4)
    await partitions.acquit(first, 99)
    second = (await take(world, worker_id="w2")).hold
    assert [await partitions.charge(second, at) for at in (4, 5)] == [1, 2]
    await partitions.acquit(first, 5)
    assert await partitions.charge(second, 5) == 1, "it says so late, when others hold the partition"
    third = (await take(world, worker_id="w3")).hold
    assert [await partitions.charge(third, at) for at in (4, 5)] == [2, 2], "each takes back its own charge alone"
    stranger = Hold("nobody", P0, 1)
    await partitions.acquit(stranger, 4)


async def another_making_of_an_address_is_refused_where_a_position_is_stored(world: World) -> None:
    partitions = world.ledger.partitions
    hold = (await take(world)).hold
    await finish(world, hold, 0)
    await partitions.report([said(hold, 1, 9)])
    for _ in range(2):
        with pytest.raises(Conflict, match=r"group g .* orders/0, .*'i'.*'j'.*millrace positions reset g orders"):
            await take(world, incarnation="j")
    await finish(world, hold, 1)  # nobody took it
    assert (await take(world)).position == 1
    assert await partitions.reset(GROUP, "orders", to=None) == 1
    taken = await take(world, incarnation="j")
    assert (taken.position, taken.finished, taken.suspects_below) == (None, (), None)


async def a_new_making_begins_anew_where_no_position_is_stored_or_the_bus_forgets(world: World) -> None:
    partitions = world.ledger.partitions
    hold = (await take(world)).hold
    await finish(world, hold, 4)
    await partitions.charge(hold, 6)
    await partitions.report([said(hold, None, 9)])
    taken = await take(world, incarnation="j", worker_id="w2")
    assert taken == Taken(hold=taken.hold), "the bus alone knows the position, and it is of another making"
    await finish(world, taken.hold, 0, 3)
    await partitions.report([said(taken.hold, 1, 9)])
    again = await take(world, incarnation="k", worker_id="w2", durable=False)
    assert again == Taken(hold=again.hold)
    await finish(world, again.hold, 0)


async def processes_with_a_bus_of_their_own_each_do_not_fence_each_other(world: World) -> None:
    partitions = world.ledger.partitions
    for worker_id in ("w1", "w2", "w3"):
        await world.join(worker_id)
    one = (await take(world, incarnation="i", worker_id="w1", durable=False)).hold
    await finish(world, one, 0)
    other = await take(world, incarnation="j", worker_id="w2", durable=False)
    assert other == Taken(hold=other.hold)
    await finish(world, other.hold, 0)
    await finish(world, one, 1)
    assert await partitions.report([said(one, 2, 2), said(other.hold, 1, 1)]) == [True, True]
    again = await take(world, incarnation="j", worker_id="w2", durable=False)
    assert (again.hold.partition, again.position) == (other.hold.partition, 1), "it finds its own again"
    assert await partitions.leave(one, position=2)
    third = await take(world, incarnation="k", worker_id="w3", durable=False)
    assert third == Taken(hold=third.hold)
    assert third.hold.partition == P0, "the place of one that is gone is taken first"
    assert {one.worker_id for one in await partitions.holdings()} == {"w2", "w3"}


async def many_that_come_at_once_have_a_place_each(world: World) -> None:
    names = [await world.join(f"w{n}") for n in range(4)]

    async def come(name: str) -> Hold:
        ledger = world.twin if name == "w3" else world.ledger
        taken = await ledger.partitions.take(GROUP, P0, worker_id=name, incarnation=f"of {name}", durable=False)
        return taken.hold

    holds = await asyncio.gather(*map(come, names))
    assert all(await world.ledger.partitions.report([said(hold, None, 1) for hold in holds]))
    assert len({hold.partition for hold in holds}) == len(names)


async def holdings_tell_who_holds_what(world: World) -> None:
    partitions = world.ledger.partitions
    await take(world, P1, worker_id="w2")
    hold = (await take(world)).hold
    await partitions.report([said(hold, 5, 9, lag=1000, open=3)])
    mine, other = await world.twin.partitions.holdings()
    assert (mine.group, mine.partition, mine.epoch, mine.worker_id) == (GROUP, P0, hold.epoch, "w1")
    assert (mine.position, mine.lag, mine.open, mine.parked) == (5, 1000, 3, 0)
    assert (other.partition, other.worker_id, other.reported_at, other.position) == (P1, "w2", None, None)
    assert mine.taken_at is not None
    assert mine.reported_at is not None
    assert mine.reported_at >= mine.taken_at


async def positions_are_reset_when_nobody_is_at_work(world: World) -> None:
    partitions = world.ledger.partitions
    await world.join()
    hold, dead = (await take(world)).hold, (await take(world, P1, worker_id="dead")).hold
    other = (await world.ledger.partitions.take(GROUP, Partition("other", 0), worker_id="w1", incarnation="i")).hold
    await finish(world, hold, 4)
    await finish(world, other, 4)
    await partitions.charge(hold, 5)
    await partitions.report([said(hold, 3, 9), said(dead, 3, 9)])
    with pytest.raises(Conflict, match="orders/0 by worker w1"):
        await partitions.reset(GROUP, "orders", to=2)
    await finish(world, hold, 5)
    await world.ledger.leases.leave("w1")
    assert await partitions.reset(GROUP, "orders", to=2) == 2
    for lost in (hold, dead):
        with pytest.raises(LeaseLost):
            await finish(world, lost, 7)
    await finish(world, other, 5)
    taken = await take(world, worker_id="w2")
    assert taken == Taken(hold=taken.hold, position=2)
    assert (await take(world, P1)).position == 2
    assert await partitions.reset(GROUP, "nowhere", to=2) == 0


async def takers_at_once_take_turns(world: World) -> None:
    """Also of a partition that nobody has ever seen: one of the holds is good, and it is the last."""
    ledgers = itertools.cycle([world.ledger, world.twin])
    taken = await asyncio.gather(
        *(next(ledgers).partitions.take(GROUP, P0, worker_id=f"w{n}", incarnation="i") for n in range(8))
    )
    epochs = sorted(one.hold.epoch for one in taken)
    assert len(set(epochs)) == 8
    good = 0
    for n, one in enumerate(sorted(taken, key=lambda one: one.hold.epoch)):
        try:
            await finish(world, one.hold, n)
            good += 1
        except LeaseLost:
            assert one.hold.epoch < epochs[-1]
    assert good == 1
    assert len(await world.ledger.partitions.holdings()) == 1


async def spans_that_come_at_once_are_finished_once(world: World) -> None:
    hold = (await take(world)).hold

    async def one(n: int) -> bool:
        partitions = (world.ledger, world.twin)[n % 2].partitions
        try:
            async with partitions.transaction(hold, (n // 2, n // 2 + 1), name=f"m{n}"):
                pass
        except LeaseLost:
            return False
        return True

    done = await asyncio.gather(*(one(n) for n in range(24)))
    assert [sum(done[n : n + 2]) for n in range(0, 24, 2)] == [1] * 12
    assert (await take(world)).finished == ((0, 12),)


PROMISES = [
    nothing_is_known_of_a_new_partition,
    each_taking_raises_the_epoch_and_fences_those_before,
    what_is_finished_is_known_to_the_next,
    nothing_is_finished_twice,
    messages_around_what_was_finished_are_finished_together,
    spans_are_checked,
    names_that_cannot_be_kept_are_refused,
    a_transaction_that_raises_finishes_nothing,
    a_transaction_during_which_the_partition_was_taken_finishes_nothing,
    ids_are_seen_for_their_time,
    seen_ids_are_forgotten_after_their_time,
    reports_move_on_and_never_back,
    where_the_bus_keeps_positions_what_is_needless_is_forgotten,
    after_a_clean_end_nobody_is_suspect,
    a_hold_that_was_left_can_be_left_again,
    what_a_dead_holder_had_is_suspect_until_someone_leaves,
    suspects_are_charged_until_they_are_finished,
    a_suspect_that_came_back_is_not_charged_for_that,
    another_making_of_an_address_is_refused_where_a_position_is_stored,
    a_new_making_begins_anew_where_no_position_is_stored_or_the_bus_forgets,
    processes_with_a_bus_of_their_own_each_do_not_fence_each_other,
    many_that_come_at_once_have_a_place_each,
    holdings_tell_who_holds_what,
    positions_are_reset_when_nobody_is_at_work,
    takers_at_once_take_turns,
    spans_that_come_at_once_are_finished_once,
]
