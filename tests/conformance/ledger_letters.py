# ruff: noqa: PT012 - what raises is a whole transaction
"""What dead letters promise."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from contracts.errors import LeaseLost, NotFound
from contracts.message import Envelope, Partition
from contracts.ports.ledger import DeadLetter, LetterFilter
from contracts.ports.parking import ToPark
from tests.conformance.ledger_world import ADDRESS, World, listening

WHOLE = DeadLetter(
    id="m1",
    address="orders",
    group="g",
    reason="undecodable",
    body=b"\x00\xff",
    error="e",
    traceback="t",
    key="k",
    headers={"h": "v", "a": ""},
    origin="kafka orders[3]@17",
    partition=3,
    position=2**127 - 1,
    attempts=5,
    replays=2,
    correlation_id="c",
    buried_at=datetime(2020, 1, 2, 3, tzinfo=UTC),
)


def letter(id_: str, **fields: Any) -> DeadLetter:
    given = {"id": id_, "address": "orders", "group": "g", "reason": "r", "body": b"{}", "partition": 0, "position": 7}
    return DeadLetter(**{**given, **fields})


async def listed(world: World, **wanted: Any) -> list[str]:
    return [one.id for one in await world.twin.dead_letters.list(LetterFilter(**wanted))]


async def they_are_kept_whole(world: World) -> None:
    letters = world.ledger.dead_letters
    odd = letter("x\x00\ud800" * 300, reason="\x00", headers={"\x00": "\ud800"}, group="\ud800", key="\x00")
    await letters.bury([WHOLE, odd])
    await letters.bury([])
    newest, oldest = await world.twin.dead_letters.list(LetterFilter())
    assert oldest == WHOLE
    assert newest.buried_at is not None
    assert newest.id.startswith("x\ufffd\ufffd")


async def one_that_comes_back_is_there_as_it_came_last(world: World) -> None:
    letters = world.ledger.dead_letters
    await letters.bury([letter("a", reason="first"), letter("a", reason="second"), letter("b")])
    again = msgspec.structs.replace(WHOLE, id="a")
    await letters.bury([again])
    await letters.bury([letter("a", group="h"), letter("a", address="other")])
    assert await letters.list(LetterFilter(ids=("a",), address="orders", group="g")) == [again]
    assert len(await letters.list(LetterFilter())) == 4


async def one_is_buried_with_the_end_of_its_message_or_not_at_all(world: World) -> None:
    """Whose partition is another's by then buries nothing: the other may handle it well."""
    letters, partitions, parking = world.ledger.dead_letters, world.ledger.partitions, world.ledger.parking
    at = Partition("orders", 0)
    old = (await partitions.take("g", at, worker_id="w1", incarnation="i")).hold
    await parking.park(old, [ToPark(envelope=envelope_of(letter("parked")), position=1, lane=None)])
    [waiting] = await parking.due([old], limit=9)
    new = old
    with pytest.raises(ZeroDivisionError):
        async with partitions.transaction(old, (7, 8), name="x") as tx:
            await letters.bury([letter("a")], tx=tx)
            raise ZeroDivisionError
    for ending in (partitions.transaction(old, (7, 8), name="x"), parking.transaction(waiting, name="x")):
        with pytest.raises(LeaseLost):
            async with ending as tx:
                await letters.bury([letter("a"), letter("parked")], tx=tx)
                new = (await world.twin.partitions.take("g", at, worker_id="w2", incarnation="i")).hold
    assert await listed(world) == []
    [waiting] = await parking.due([new], limit=9)
    async with partitions.transaction(new, (7, 8), name="x") as tx:
        await letters.bury([letter("a")], tx=tx)
    async with parking.transaction(waiting, name="x") as tx:
        await letters.bury([letter("parked")], tx=tx)
    assert sorted(await listed(world)) == ["a", "parked"]
    assert (await partitions.known(new, positions=[7])).positions == {7}
    assert await parking.due([new], limit=9) == []


async def they_are_found_by_what_is_known_of_them(world: World) -> None:
    letters = world.ledger.dead_letters
    at = datetime(2024, 1, 1, tzinfo=UTC)
    await letters.bury(
        [
            letter("a", reason="poison", headers={"k": "1", "l": "2"}, buried_at=at),
            letter("b", address="other", headers={"k": "1"}, buried_at=at + timedelta(hours=1)),
            letter("c", group="h", headers={"k": "2"}, buried_at=at + timedelta(hours=2)),
            letter("d", buried_at=at + timedelta(hours=3)),
        ]
    )
    assert await listed(world) == ["d", "c", "b", "a"]
    assert await listed(world, ids=("a", "d", "x")) == ["d", "a"]
    assert await listed(world, address="orders") == ["d", "c", "a"]
    assert await listed(world, group="g", address="orders") == ["d", "a"]
    assert await listed(world, reason="poison") == ["a"]
    assert await listed(world, since=at + timedelta(hours=1), until=at + timedelta(hours=3)) == ["c", "b"]
    assert await listed(world, headers={"k": "1"}) == ["b", "a"]
    assert await listed(world, headers={"k": "1", "l": "2"}) == ["a"]
    assert await listed(world, headers={"k": "1", "x": "2"}) == []
    assert await listed(world, limit=2) == ["d", "c"]


async def they_come_in_pages(world: World) -> None:
    at = datetime(2024, 1, 1, tzinfo=UTC)
    await world.ledger.dead_letters.bury([letter(f"m{n}", buried_at=at + timedelta(seconds=n // 2)) for n in range(9)])
    await world.ledger.dead_letters.bury([letter(f"new{n}") for n in range(4)])
    seen: list[str] = []
    before: tuple[datetime, str] | None = None
    while page := await world.twin.dead_letters.list(LetterFilter(before=before, limit=3)):
        seen += [one.id for one in page]
        assert page[-1].buried_at is not None
        before = (page[-1].buried_at, page[-1].id)
        await world.ledger.dead_letters.bury([letter(f"later {len(seen)}")])
    assert seen[4:] == [f"m{n}" for n in range(8, -1, -1)]
    assert set(seen[:4]) == {f"new{n}" for n in range(4)}


async def they_can_be_edited(world: World) -> None:
    letters = world.ledger.dead_letters
    await letters.bury([WHOLE, letter("b")])
    edited = msgspec.structs.replace(WHOLE, body=b"{}", key=None, headers={"h": "\x00"}, reason="not kept")
    await letters.edit(edited)
    [kept] = await world.twin.dead_letters.list(LetterFilter(ids=("m1",)))
    assert kept == msgspec.structs.replace(WHOLE, body=b"{}", key=None, headers={"h": "\ufffd"})
    for other in ({"id": "x"}, {"group": "h"}, {"address": "x"}):
        with pytest.raises(NotFound, match="no dead letter"):
            await letters.edit(msgspec.structs.replace(WHOLE, **other))


async def they_are_dropped(world: World) -> None:
    letters = world.ledger.dead_letters
    await letters.bury([letter("a"), letter("b"), letter("c")])
    assert await letters.drop([letter("a"), letter("b", group="h"), letter("x"), letter("a")]) == 1
    assert await letters.drop([letter("a")]) == 0
    assert await letters.drop([]) == 0
    assert sorted(await listed(world)) == ["b", "c"]


async def they_are_forgotten_after_their_time(world: World) -> None:
    letters = world.ledger.dead_letters
    await letters.bury([WHOLE, letter("a"), letter("b", group="h"), letter("b")])
    await world.age(7200)
    await letters.bury([letter("young")])
    assert await letters.prune(keep=timedelta(hours=3), batch=10) == 1, "the one of long ago"
    assert [await letters.prune(keep=timedelta(hours=1), batch=2) for _ in range(3)] == [2, 1, 0]
    assert await listed(world) == ["young"]


async def a_replayed_one_waits_for_its_route(world: World) -> None:
    hold = (await world.ledger.partitions.take("g", Partition("orders", 3), worker_id="w", incarnation="i")).hold
    waiting = [
        ToPark(envelope=msgspec.structs.replace(envelope_of(WHOLE), id="before"), position=1, lane="k", after_s=60)
    ]
    await world.ledger.parking.park(hold, waiting)
    free = msgspec.structs.replace(WHOLE, id="free", key=None, replays=0, headers={}, position=4)
    await world.ledger.dead_letters.bury([WHOLE, free, letter("other", partition=4)])
    async with listening(world.twin) as woken:
        assert await world.ledger.dead_letters.replay([WHOLE, free, letter("x")], most=3) == [
            "parked",
            "parked",
            "gone",
        ]
        await woken()
    assert await listed(world) == ["other"]
    [first] = await world.twin.parking.due([hold], limit=9)
    assert (first.envelope.id, first.envelope.headers, first.position, first.attempt) == (
        "free",
        {"millrace-replays": "1"},
        4,
        1,
    )
    await world.age(61)
    found = {one.envelope.id: one for one in await world.twin.parking.due([hold], limit=9)}
    assert found.keys() == {"free", "before"}
    await world.ledger.parking.remove(found["before"])
    found = {one.envelope.id: one for one in await world.twin.parking.due([hold], limit=9)}
    parked = found["m1"]
    assert parked.envelope == msgspec.structs.replace(
        envelope_of(WHOLE), headers={"h": "v", "a": "", "millrace-replays": "3"}
    )
    assert (parked.position, parked.lane) == (WHOLE.position, "k")


async def a_partition_that_nobody_took_yet_can_have_some_waiting(world: World) -> None:
    await world.ledger.dead_letters.bury([letter("b", position=8, key="k"), letter("a", position=9, key="k")])
    assert await world.ledger.dead_letters.replay([letter("a"), letter("b"), letter("a")], most=1) == [
        "parked",
        "parked",
        "gone",
    ]
    taken = await world.twin.partitions.take("g", Partition("orders", 0), worker_id="w", incarnation="i")
    assert (taken.position, taken.finished, taken.suspects_below) == (None, (), None)
    order = []
    while found := await world.ledger.parking.due([taken.hold], limit=9):
        order += [one.envelope.id for one in found]
        await world.ledger.parking.remove(found[0])
    assert order == ["b", "a"], "those of one key keep their order"


async def what_came_back_too_often_stays(world: World) -> None:
    letters = world.ledger.dead_letters
    await letters.bury([letter("a", replays=3), letter("b", replays=2)])
    assert await letters.replay([letter("a", replays=0), letter("b", replays=9)], most=3) == ["too often", "parked"]
    assert await letters.replay([letter("a"), letter("b")], most=3) == ["too often", "gone"]
    assert await letters.replay([], most=3) == []
    assert await listed(world) == ["a"]


async def what_was_edited_is_what_is_replayed(world: World) -> None:
    letters = world.ledger.dead_letters
    await letters.bury([letter("a", body=b"bad")])
    await letters.edit(letter("a", body=b"good", key="k", headers={"millrace-replays": "9"}))
    assert await letters.replay([letter("a", body=b"ugly")], most=1) == ["parked"]
    hold = (await world.ledger.partitions.take("g", Partition("orders", 0), worker_id="w", incarnation="i")).hold
    [parked] = await world.ledger.parking.due([hold], limit=9)
    assert (parked.envelope.body, parked.lane) == (b"good", "k")
    assert parked.envelope.headers == {"millrace-replays": "1"}


async def a_command_goes_to_the_queue(world: World) -> None:
    await world.join()
    command = letter("a", address=ADDRESS, group="", partition=None, position=None, correlation_id="c", body=b'{"n":1}')
    await world.ledger.dead_letters.bury([command])
    async with listening(world.twin) as woken:
        assert await world.ledger.dead_letters.replay([command], most=1) == ["parked"]
        await woken()
    claim = await world.claim_one()
    assert (claim.id, claim.body, claim.correlation_id) == ("a", b'{"n":1}', "c")
    assert claim.headers == {"millrace-replays": "1"}
    assert await listed(world) == []


async def one_is_replayed_once_whoever_asks(world: World) -> None:
    letters = [letter(f"m{n}", key=f"k{n % 2}") for n in range(6)]
    await world.ledger.dead_letters.bury(letters)
    ledgers = [world.ledger, world.twin]
    told = await asyncio.gather(
        *(ledgers[n % 2].dead_letters.replay(letters[:: 1 - 2 * (n % 2)], most=1) for n in range(4))
    )
    assert sorted(word for one in told for word in one) == ["gone"] * 18 + ["parked"] * 6
    [holding] = await world.ledger.partitions.holdings()
    assert holding.parked == 6


def envelope_of(one: DeadLetter) -> Envelope:
    return Envelope(
        id=one.id,
        address=one.address,
        body=one.body,
        key=one.key,
        headers=one.headers,
        correlation_id=one.correlation_id,
    )


PROMISES = [
    they_are_kept_whole,
    one_that_comes_back_is_there_as_it_came_last,
    one_is_buried_with_the_end_of_its_message_or_not_at_all,
    they_are_found_by_what_is_known_of_them,
    they_come_in_pages,
    they_can_be_edited,
    they_are_dropped,
    they_are_forgotten_after_their_time,
    a_replayed_one_waits_for_its_route,
    a_partition_that_nobody_took_yet_can_have_some_waiting,
    what_came_back_too_often_stays,
    what_was_edited_is_what_is_replayed,
    a_command_goes_to_the_queue,
    one_is_replayed_once_whoever_asks,
]
