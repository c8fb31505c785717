"""What the outbox promises."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contracts.errors import BadInput, LeaseLost, Unavailable
from contracts.message import Envelope, Partition
from contracts.outcome import Done
from contracts.ports.outbox import Outbox
from contracts.ports.partitions import Hold
from tests.conformance.ledger_world import World

AT = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
ODD = "\x00\ufffe ü" * 500


def message(id_: str, key: str | None = None, **more: Any) -> Envelope:
    return Envelope(**{"id": id_, "address": "orders.out", "body": b"{}", "key": key, **more})


def messages(*ids: str, key: str | None = None) -> list[Envelope]:
    return [message(id_, key) for id_ in ids]


class Bus:
    """Confirms what it is sent, and knows it."""

    def __init__(self) -> None:
        self.sent: list[Envelope] = []
        self.down = False

    async def send(self, envelopes: Sequence[Envelope]) -> None:
        if self.down:
            raise Unavailable("the bus", "it is down")
        assert envelopes
        self.sent.extend(envelopes)

    @property
    def ids(self) -> list[str]:
        return [envelope.id for envelope in self.sent]

    def of(self, key: str) -> list[str]:
        return [envelope.id for envelope in self.sent if envelope.key == key]


async def emptied(outbox: Outbox, bus: Bus, *, limit: int = 500) -> int:
    sent = 0
    while more := await outbox.relay(bus.send, limit=limit):
        sent += more
    return sent


@asynccontextmanager
async def listening(outbox: Outbox) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    wakes = outbox.wakeups()
    await anext(wakes)

    async def woken() -> None:
        await anext(wakes)

    try:
        yield woken
    finally:
        await wakes.aclose()  # type: ignore[attr-defined]


async def hold_of(world: World) -> Hold:
    taken = await world.ledger.partitions.take("g", Partition("orders", 0), worker_id="w1", incarnation="i")
    return taken.hold


async def what_is_added_is_sent_whole_and_once(world: World) -> None:
    whole = [
        message(
            ODD,
            ODD,
            body=bytes(range(256)) * 100,
            headers={ODD: ODD, "": "", "source-id": "a"},
            correlation_id=ODD,
            published_at=AT,
            not_before=AT + timedelta(days=2),
            priority=-5,
        ),
        message("bare", body=b""),
        message("", "", address="elsewhere"),
    ]
    await world.ledger.outbox.add(whole, tx=None)
    await world.ledger.outbox.add([], tx=None)
    assert await world.twin.outbox.backlog() == 3
    bus = Bus()
    assert await world.twin.outbox.relay(bus.send) == 3
    assert sorted(bus.sent, key=lambda one: one.id) == sorted(whole, key=lambda one: one.id)
    for outbox in (world.ledger.outbox, world.twin.outbox):
        assert await outbox.relay(bus.send) == 0
        assert await outbox.backlog() == 0
    assert len(bus.sent) == 3


async def one_key_keeps_its_order(world: World) -> None:
    added: dict[str, list[str]] = defaultdict(list)
    for batch in range(6):
        adding = []
        for n in range(50):
            key = f"k{n % 7}"
            adding.append(message(f"{batch}-{n}", key))
            added[key].append(f"{batch}-{n}")
        outbox = (world.ledger if batch % 2 else world.twin).outbox
        await outbox.add(adding, tx=None)
    bus = Bus()
    assert await emptied(world.ledger.outbox, bus, limit=3) == 300
    assert {key: bus.of(key) for key in added} == added


async def a_pass_sends_at_most_the_limit_of_each_range_of_keys(world: World) -> None:
    await world.ledger.outbox.add(messages(*(f"{n:02}" for n in range(25)), key="k"), tx=None)
    bus = Bus()
    assert [await world.ledger.outbox.relay(bus.send, limit=10) for _ in range(4)] == [10, 10, 5, 0]
    assert bus.ids == sorted(bus.ids)


async def large_messages_are_sent_a_few_at_a_time(world: World) -> None:
    size = 3 * 1024 * 1024
    await world.ledger.outbox.add([message(f"{n}", "k", body=b"x" * size) for n in range(4)], tx=None)
    await world.ledger.outbox.add([message("4", "k", body=b"x" * 5 * size), message("5", "k")], tx=None)
    calls: list[list[str]] = []

    async def send(envelopes: Sequence[Envelope]) -> None:
        calls.append([envelope.id for envelope in envelopes])

    while await world.ledger.outbox.relay(send):
        pass
    assert [id_ for call in calls for id_ in call] == ["0", "1", "2", "3", "4", "5"]
    assert max(map(len, calls)) <= 3


async def an_id_that_waits_is_left_as_it_is(world: World) -> None:
    await world.ledger.outbox.add([message("a", "k", body=b"1"), message("a", "k", body=b"2")], tx=None)
    await world.twin.outbox.add([message("a", "other", body=b"3"), message("b", "k")], tx=None)
    bus = Bus()
    assert await emptied(world.ledger.outbox, bus) == 2
    assert [(one.id, one.body) for one in bus.sent] == [("a", b"1"), ("b", b"{}")]
    await world.ledger.outbox.add([message("a", "k", body=b"4")], tx=None)
    assert await emptied(world.ledger.outbox, bus) == 1, "an id that was sent is not remembered"


async def what_has_identities_of_its_own_waits_under_one_id(world: World) -> None:
    twins = messages("a", "a", "b", key="k")
    await world.ledger.outbox.add(twins, tx=None, identities=["a 1", "a 2", "b 1"])
    await world.twin.outbox.add(messages("a", "c", key="k"), tx=None, identities=["a 2", "c 1"])
    bus = Bus()
    assert await emptied(world.ledger.outbox, bus) == 4
    assert bus.ids == ["a", "a", "b", "c"]


async def one_lane_keeps_its_order_whatever_the_keys(world: World) -> None:
    for batch in range(4):
        some = [message(f"{batch * 50 + n:03}", f"k{n % 7}" if n % 3 else None) for n in range(50)]
        outbox = (world.ledger if batch % 2 else world.twin).outbox
        await outbox.add(some, tx=None, lane="feed")
    bus = Bus()
    assert await emptied(world.ledger.outbox, bus, limit=7) == 200
    assert bus.ids == [f"{n:03}" for n in range(200)]


async def its_ends_say_what_is_gone(world: World) -> None:
    assert await world.ledger.outbox.ends() is None
    await world.ledger.outbox.add(messages("a", "b", "c", "d", key="k"), tx=None)
    first = await world.twin.outbox.ends()
    await world.ledger.outbox.add(messages("e"), tx=None)
    second = await world.ledger.outbox.ends()
    assert first is not None
    assert second is not None
    assert first[0] == second[0] <= first[1] < second[1]
    bus = Bus()
    while (now := await world.ledger.outbox.ends()) is not None and now[0] <= first[1]:
        assert "d" not in bus.ids
        await world.ledger.outbox.relay(bus.send, limit=1)
    assert {"a", "b", "c", "d"} <= set(bus.ids)
    await emptied(world.ledger.outbox, bus)
    assert await world.ledger.outbox.ends() is None


async def what_is_not_confirmed_is_not_forgotten(world: World) -> None:
    await world.ledger.outbox.add(messages("a", "b", key="k"), tx=None)
    bus = Bus()
    bus.down = True
    for outbox in (world.ledger.outbox, world.twin.outbox, world.ledger.outbox):
        with pytest.raises(Unavailable, match="it is down"):
            await outbox.relay(bus.send)
    assert await world.ledger.outbox.backlog() == 2
    bus.down = False
    assert await emptied(world.twin.outbox, bus) == 2
    assert bus.ids == ["a", "b"]


async def any_error_comes_out_as_it_is(world: World) -> None:
    await world.ledger.outbox.add(messages("a"), tx=None)
    for error in (TimeoutError("own"), RuntimeError("bug"), BadInput("too large")):

        async def send(_: Sequence[Envelope], error: Exception = error) -> None:
            raise error

        with pytest.raises(type(error)) as raised:
            await world.ledger.outbox.relay(send)
        assert raised.value is error
    assert await emptied(world.ledger.outbox, Bus()) == 1


async def a_pass_that_is_cancelled_forgets_nothing(world: World) -> None:
    await world.ledger.outbox.add(messages("a", "b", key="k"), tx=None)
    began = asyncio.Event()

    async def never(_: Sequence[Envelope]) -> None:
        began.set()
        await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        passing = group.create_task(world.ledger.outbox.relay(never))
        await began.wait()
        passing.cancel()
    bus = Bus()
    assert await emptied(world.twin.outbox, bus) == 2
    assert bus.ids == ["a", "b"]


async def one_sender_at_a_time_has_a_key(world: World) -> None:
    others = [f"other-{n}" for n in range(40)]
    await world.ledger.outbox.add(messages("a", "b", key="k"), tx=None)
    began, go_on = asyncio.Event(), asyncio.Event()
    first, second = Bus(), Bus()

    async def slowly(envelopes: Sequence[Envelope]) -> None:
        began.set()
        await go_on.wait()
        await first.send(envelopes)

    async with asyncio.TaskGroup() as group:
        passing = group.create_task(world.ledger.outbox.relay(slowly))
        await began.wait()
        await world.twin.outbox.add(messages("c", "d", key="k"), tx=None)
        await world.twin.outbox.add([message(other, other) for other in others], tx=None)
        sent = await emptied(world.twin.outbox, second)
        assert 0 < sent <= len(others), "other keys go on"
        assert second.of("k") == []
        go_on.set()
    assert passing.result() == 2
    assert first.ids == ["a", "b"]
    await emptied(world.ledger.outbox, second)
    assert second.of("k") == ["c", "d"], "what came while others were sent is not forgotten with them"
    assert sorted(second.ids) == sorted(["c", "d", *others])


async def adding_wakes(world: World) -> None:
    async with listening(world.twin.outbox) as woken:
        await world.ledger.outbox.add(messages("a"), tx=None)
        await woken()
        assert await world.twin.outbox.backlog() == 1
        await world.ledger.outbox.add(messages("b", "c"), tx=None)
        await woken()
    assert await world.twin.outbox.backlog() == 3


async def who_sends_by_itself_wakes_nobody(world: World) -> None:
    async with listening(world.twin.outbox) as woken:
        await world.ledger.outbox.add(messages("a"), tx=None, wakes=False)
        assert await world.twin.outbox.backlog() == 1
        waking = asyncio.ensure_future(woken())  # noqa: TID251 - it must not end yet
        await world.twin.outbox.backlog()  # a round trip, in which a wake would have come
        assert not waking.done()
        await world.ledger.outbox.add(messages("b"), tx=None)
        await waking


async def wakeups_end_with_the_ledger(world: World) -> None:
    wakes = world.twin.outbox.wakeups()
    await anext(wakes)
    await world.twin.close()
    with suppress(StopAsyncIteration):
        while True:
            await anext(wakes)
    await world.twin.open()


async def a_transaction_adds_at_its_end(world: World) -> None:
    hold = await hold_of(world)
    bus = Bus()
    async with listening(world.twin.outbox) as woken:
        async with world.ledger.partitions.transaction(hold, (0, 1), name="x") as tx:
            await world.ledger.outbox.add(messages("a", key="k"), tx=tx)
            await world.ledger.outbox.add(messages("b", key="k"), tx=tx)
            assert await world.twin.outbox.relay(bus.send) == 0
        await woken()
        assert await world.twin.outbox.relay(bus.send) == 2
    assert bus.ids == ["a", "b"]


async def a_transaction_that_fails_adds_nothing(world: World) -> None:
    hold = await hold_of(world)
    partitions = world.ledger.partitions
    with suppress(RuntimeError):
        async with partitions.transaction(hold, (0, 1), name="x") as tx:
            await world.ledger.outbox.add(messages("a"), tx=tx)
            raise RuntimeError
    await world.twin.partitions.take("g", Partition("orders", 0), worker_id="w2", incarnation="i")
    with pytest.raises(LeaseLost):
        async with partitions.transaction(hold, (1, 2), name="x") as tx:
            await world.ledger.outbox.add(messages("b"), tx=tx)
    assert await world.ledger.outbox.backlog() == 0


async def who_commits_late_is_not_passed_by(world: World) -> None:
    """The order of numbers is not the order of commits."""
    hold = await hold_of(world)
    bus = Bus()
    async with world.ledger.partitions.transaction(hold, (0, 1), name="x") as tx:
        await world.ledger.outbox.add(messages("early", key="k"), tx=tx)
        await world.twin.outbox.add(messages("late", key="k"), tx=None)
        assert await emptied(world.twin.outbox, bus) == 1
        assert await emptied(world.ledger.outbox, bus) == 0
    assert await emptied(world.twin.outbox, bus) == 1
    assert bus.ids == ["late", "early"]


async def a_job_adds_while_it_is_held(world: World) -> None:
    claim = await world.started()
    await world.ledger.outbox.add(messages("a"), tx=None, claim=claim)
    await world.reaped()
    with pytest.raises(LeaseLost, match=f"job {claim.id}"):
        await world.ledger.outbox.add(messages("b"), tx=None, claim=claim)
    again = await world.claim_one()
    with pytest.raises(LeaseLost):
        await world.ledger.outbox.add(messages("b"), tx=None, claim=claim)
    await world.ledger.outbox.add(messages("c"), tx=None, claim=again)
    assert await world.settle(again, Done())
    with pytest.raises(LeaseLost):
        await world.ledger.outbox.add(messages("d"), tx=None, claim=again)
    bus = Bus()
    await emptied(world.twin.outbox, bus)
    assert sorted(bus.ids) == ["a", "c"]


async def what_no_bus_could_carry_is_refused_whole(world: World) -> None:
    lone = "\ud800"
    for wrong in (message(lone), message("b", lone), message("b", headers={"h": lone})):
        with pytest.raises(BadInput, match="UTF-8"):
            await world.ledger.outbox.add([message("a"), wrong], tx=None)
    assert await world.ledger.outbox.backlog() == 0


async def senders_at_once_send_everything_once_and_in_order(world: World) -> None:
    wanted = {f"k{n}": [f"k{n}-{m:03}" for m in range(20)] for n in range(12)}
    bus = Bus()
    added = asyncio.Event()

    async def send(envelopes: Sequence[Envelope]) -> None:
        for _ in range(len(envelopes) % 5):
            await asyncio.sleep(0)  # noqa: TID251 - turns of the loop, for the other sender to come in between
        await bus.send(envelopes)

    async def add(keys: Sequence[str], outbox: Outbox) -> None:
        for n in range(20):
            await outbox.add([message(wanted[key][n], key) for key in keys], tx=None)

    async def relay(outbox: Outbox) -> None:
        while not added.is_set():
            await outbox.relay(send, limit=7)
            await asyncio.sleep(0)  # noqa: TID251 - as above

    async with asyncio.TaskGroup() as group:
        for outbox in (world.ledger.outbox, world.twin.outbox):
            group.create_task(relay(outbox))
        async with asyncio.TaskGroup() as adding:
            adding.create_task(add([f"k{n}" for n in range(6)], world.ledger.outbox))
            adding.create_task(add([f"k{n}" for n in range(6, 12)], world.twin.outbox))
        added.set()
    await emptied(world.ledger.outbox, bus)
    assert {key: bus.of(key) for key in wanted} == wanted
    assert await world.ledger.outbox.backlog() == 0


PROMISES = [
    what_is_added_is_sent_whole_and_once,
    one_key_keeps_its_order,
    a_pass_sends_at_most_the_limit_of_each_range_of_keys,
    large_messages_are_sent_a_few_at_a_time,
    an_id_that_waits_is_left_as_it_is,
    what_has_identities_of_its_own_waits_under_one_id,
    one_lane_keeps_its_order_whatever_the_keys,
    its_ends_say_what_is_gone,
    what_is_not_confirmed_is_not_forgotten,
    any_error_comes_out_as_it_is,
    a_pass_that_is_cancelled_forgets_nothing,
    one_sender_at_a_time_has_a_key,
    adding_wakes,
    who_sends_by_itself_wakes_nobody,
    wakeups_end_with_the_ledger,
    a_transaction_adds_at_its_end,
    a_transaction_that_fails_adds_nothing,
    who_commits_late_is_not_passed_by,
    a_job_adds_while_it_is_held,
    what_no_bus_could_carry_is_refused_whole,
    senders_at_once_send_everything_once_and_in_order,
]
