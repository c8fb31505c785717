"""What the state of partitions promises."""

from __future__ import annotations

from contextlib import suppress

import pytest

from contracts.errors import BadInput, LeaseLost
from contracts.message import Partition
from contracts.ports.partitions import Hold
from contracts.ports.states import PIECE_BYTES
from tests.conformance.ledger_world import Promise, World

GROUP = "g"
P0, P1 = Partition("orders", 0), Partition("orders", 1)


async def take(world: World, partition: Partition = P0, *, group: str = GROUP, worker_id: str = "w1") -> Hold:
    taken = await world.ledger.partitions.take(group, partition, worker_id=worker_id, incarnation="i")
    return taken.hold


async def save(world: World, hold: Hold, at: int, changes: dict[str, bytes | None]) -> None:
    async with world.ledger.partitions.transaction(hold, (at, at + 1), name="x") as tx:
        await world.ledger.states.save(hold, changes, tx=tx)


async def what_was_saved_is_there_for_whoever_takes_it_next(world: World) -> None:
    hold = await take(world)
    assert await world.ledger.states.load(hold) == {}
    await save(world, hold, 0, {"a": b"1", "b": b"\x00\xff", "empty": b""})
    await save(world, hold, 1, {"a": b"2", "b": None, "never": None, "ü" * 200: b"3"})
    for other in (await take(world, P1), await take(world, group="h")):
        assert await world.ledger.states.load(other) == {}
    after = (await world.twin.partitions.take(GROUP, P0, worker_id="w2", incarnation="i")).hold
    assert await world.twin.states.load(after) == {"a": b"2", "empty": b"", "ü" * 200: b"3"}


async def it_is_saved_with_its_transaction_or_not_at_all(world: World) -> None:
    hold = await take(world)
    await save(world, hold, 0, {"a": b"1"})
    with suppress(ZeroDivisionError):
        async with world.ledger.partitions.transaction(hold, (1, 2), name="x") as tx:
            await world.ledger.states.save(hold, {"a": b"2", "b": b"2"}, tx=tx)
            raise ZeroDivisionError
    with pytest.raises(LeaseLost):
        await save(world, hold, 0, {"a": b"3"})  # finished before
    assert await world.twin.states.load(hold) == {"a": b"1"}


async def nothing_of_an_older_epoch_is_saved_or_read(world: World) -> None:
    old = await take(world)
    await save(world, old, 0, {"a": b"old"})
    new = await take(world, worker_id="w2")
    with pytest.raises(LeaseLost):
        await save(world, old, 1, {"a": b"older"})
    with pytest.raises(LeaseLost):
        await world.ledger.states.load(old)
    await save(world, new, 1, {"b": b"new"})
    assert await world.ledger.states.load(new) == {"a": b"old", "b": b"new"}


async def a_transaction_without_messages_is_fenced_too(world: World) -> None:
    partitions, hold = world.ledger.partitions, await take(world)
    for state in (b"1", b"2"):
        async with partitions.transaction(hold, None, name="tick") as tx:
            await world.ledger.states.save(hold, {"a": state}, tx=tx)
    assert await world.ledger.states.load(hold) == {"a": b"2"}
    assert (await partitions.known(hold, positions=[0, 1])).positions == frozenset()
    await take(world, worker_id="w2")
    with pytest.raises(LeaseLost):
        async with partitions.transaction(hold, None, name="tick"):
            pass


async def it_goes_with_the_position(world: World) -> None:
    hold, beside = await take(world), await take(world, group="h")
    await save(world, hold, 0, {"a": b"1"})
    await save(world, beside, 0, {"a": b"1"})
    await world.ledger.partitions.reset(GROUP, "orders", to=None)
    assert await world.ledger.states.load(await take(world)) == {}
    assert await world.ledger.states.load(beside) == {"a": b"1"}
    fields = {"worker_id": "w1", "incarnation": "made anew", "durable": False}
    anew = await world.ledger.partitions.take("h", P0, **fields)  # type: ignore[arg-type]
    assert await world.ledger.states.load(anew.hold) == {}


async def what_can_not_be_kept_is_refused(world: World) -> None:
    hold = await take(world)
    with pytest.raises(BadInput) as refused:
        await save(world, hold, 0, {"": b"1", "n" * 201: b"1", "a\0": b"1", "large": bytes(PIECE_BYTES + 1), "ok": b""})
    assert len(refused.value.faults) == 4
    assert await world.ledger.states.load(hold) == {}


PROMISES: list[Promise] = [
    what_was_saved_is_there_for_whoever_takes_it_next,
    it_is_saved_with_its_transaction_or_not_at_all,
    nothing_of_an_older_epoch_is_saved_or_read,
    a_transaction_without_messages_is_fenced_too,
    it_goes_with_the_position,
    what_can_not_be_kept_is_refused,
]
