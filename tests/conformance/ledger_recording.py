"""What recording commands promises."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from contracts.errors import BadInput
from contracts.job import JobRow, JobState
from contracts.outcome import Done
from contracts.ports.ledger import Settlement
from tests.conformance.ledger_world import ADDRESS, World, ids, job


async def keeps_a_command_whole(world: World) -> None:
    body = bytes(range(256))
    new = job("a", body=body, headers={"x": "1", "ü": "€"}, correlation_id="c", priority=3, unique_key="k")
    assert [one.became for one in await world.ledger.queue.record([new])] == ["recorded"]
    row = await world.row("a")
    assert (row.state, row.priority, row.attempt, row.claims) == (JobState.QUEUED, 3, 0, 0)
    assert (row.correlation_id, row.unique_key, row.worker_id) == ("c", "k", None)
    assert row.not_before <= row.recorded_at
    await world.join()
    claim = await world.claim_one()
    assert (claim.body, claim.headers, claim.correlation_id) == (body, {"x": "1", "ü": "€"}, "c")
    assert (claim.attempt, claim.claims, claim.fence, claim.checkpoint) == (1, 1, 1, None)
    assert claim.recorded_at == row.recorded_at


async def recording_again_is_no_change(world: World) -> None:
    await world.join()
    queue = world.ledger.queue
    first = await queue.record([job("a"), job("b"), job("a", body=b"other")], worker_id="w1", slots={ADDRESS: 1})
    assert [one.became for one in first] == ["recorded", "recorded", "known"]
    assert ids([one.claim for one in first if one.claim]) == ["a"]
    again = await queue.record([job("b"), job("c"), job("a")], worker_id="w1", slots={ADDRESS: 5})
    assert [(one.id, one.became) for one in again] == [("b", "known"), ("c", "recorded"), ("a", "known")]
    assert all(one.claim is None for one in again), "b waits ahead of c"
    assert await world.settle(first[0].claim or pytest.fail("a was not claimed"))
    assert (await queue.record([job("a")]))[0].became == "known"
    assert (await world.row("a")).state is JobState.DONE


async def nothing_recorded_is_nothing(world: World) -> None:
    assert await world.ledger.queue.record([]) == []


async def a_name_that_cannot_be_kept_is_refused_whole(world: World) -> None:
    for wrong in (job("a\x00b"), job(""), job("x" * 600), job("\ud800"), job("ok", address="a\x00")):
        with pytest.raises(BadInput, match="can't be kept"):
            await world.ledger.queue.record([job("good"), wrong])
    assert await world.twin.desk.get("good") is None


async def odd_text_is_kept_readable(world: World) -> None:
    odd = "a\x00b\ud800c"
    await world.join()
    await world.record("a", headers={odd: odd}, correlation_id=odd, unique_key=odd)
    await world.record("b", unique_key="a\x00b\ud801c", priority=10**12)
    await world.record("c", unique_key="k" * 5000, priority=-(10**12))
    claims = await world.claim()
    assert ids(claims) == ["b", "a", "c"], "keys that differ stay different, priorities are bounded"


async def starts_what_it_may_at_once(world: World) -> None:
    await world.join()
    now = (await _clocked(world)).recorded_at
    jobs = [
        job("low", priority=-1),
        job("later", not_before=now + timedelta(hours=1)),
        job("keyed", unique_key="k"),
        job("high", priority=1),
        job("mid"),
        job("elsewhere", address="run.other"),
    ]
    recorded = await world.ledger.queue.record(jobs, worker_id="w1", slots={ADDRESS: 2, "run.third": 9})
    assert all(one.became == "recorded" for one in recorded)
    assert {one.id for one in recorded if one.claim} == {"high", "mid"}
    for one in recorded:
        row = await world.row(one.id)
        assert row.state is (JobState.RUNNING if one.claim else JobState.QUEUED)
        if one.claim:
            assert (one.claim.fence, one.claim.attempt, one.claim.claims) == (1, 1, 1)
            assert one.claim.recorded_at == row.recorded_at
            assert row.worker_id == "w1"
            assert row.started_at is not None
    claims = [one.claim for one in recorded if one.claim]
    assert await world.ledger.queue.settle([Settlement(claim=claim, outcome=Done()) for claim in claims]) == [True] * 2


async def _clocked(world: World) -> JobRow:
    await world.record("clock", address="run.clock")
    return await world.row("clock")


async def nobody_is_overtaken_at_recording(world: World) -> None:
    await world.join()
    await world.record("waiting")
    slots = {ADDRESS: 5}
    recorded = await world.ledger.queue.record([job("late"), job("urgent", priority=5)], worker_id="w1", slots=slots)
    assert {one.id for one in recorded if one.claim} == {"urgent"}
    assert ids(await world.claim()) == ["waiting", "late"]


async def what_only_waits_for_its_key_is_not_ahead(world: World) -> None:
    await world.started("a", unique_key="k")
    await world.record("b", unique_key="k")
    recorded = await world.ledger.queue.record([job("c")], worker_id="w1", slots={ADDRESS: 1})
    assert recorded[0].claim is not None


async def nothing_starts_without_a_lease(world: World) -> None:
    queue = world.ledger.queue
    assert (await queue.record([job("a")], worker_id="nobody", slots={ADDRESS: 1}))[0].claim is None
    await world.join("late", lease_s=1)
    await world.age(2)
    assert (await queue.record([job("b")], worker_id="late", slots={ADDRESS: 5}))[0].claim is None
    assert (await queue.record([job("c")], worker_id="late", slots={ADDRESS: 0}))[0].claim is None
    assert await queue.claim("late", {ADDRESS: 5}) == []
    assert await queue.claim("late", {ADDRESS: 5}, only=["a"]) == []


async def skips_while_its_key_is_active(world: World) -> None:
    queue = world.ledger.queue
    await world.join()
    skipping = [job(id_, unique_key="k", unique_skip=True) for id_ in ("a", "b")]
    first = await queue.record([*skipping, job("free", unique_key="other", unique_skip=True)])
    assert [(one.became, one.active_id) for one in first] == [("recorded", None), ("skipped", "a"), ("recorded", None)]
    row = await world.row("b")
    assert row.state is JobState.SKIPPED
    assert row.finished_at is not None
    assert "job a" in (row.error or "")
    assert [one.became for one in await queue.record(skipping)] == ["known", "known"]
    [claim] = await queue.claim("w1", {ADDRESS: 5}, only=["a"])
    while_running = await queue.record([job("c", unique_key="k", unique_skip=True), job("d", unique_key="k")])
    assert [(one.became, one.active_id) for one in while_running] == [("skipped", "a"), ("recorded", None)]
    await world.settle(claim)
    queued = await queue.record([job("e", unique_key="k", unique_skip=True)])
    assert [(one.became, one.active_id) for one in queued] == [("skipped", "d")]
    await world.settle((await queue.claim("w1", {ADDRESS: 5}, only=["d"]))[0])
    assert [one.became for one in await queue.record([job("f", unique_key="k", unique_skip=True)])] == ["recorded"]


async def only_one_of_a_skipped_key_is_recorded_by_many_at_once(world: World) -> None:
    async def one(n: int) -> str:
        ledger = world.ledger if n % 2 else world.twin
        new = [job(f"j{n}-{m}", unique_key=f"k{m}", unique_skip=True) for m in range(3)]
        recorded = await ledger.queue.record(new if n % 3 else list(reversed(new)))
        return " ".join(sorted(recorded_.became for recorded_ in recorded))

    became = " ".join(await asyncio.gather(*(one(n) for n in range(10)))).split()
    assert (became.count("recorded"), became.count("skipped")) == (3, 27)
    await world.join()
    assert len(await world.claim()) == 3


async def the_same_commands_by_many_at_once_are_recorded_once(world: World) -> None:
    new = [job(f"j{n}") for n in range(40)]

    async def one(n: int) -> int:
        ledger = world.ledger if n % 2 else world.twin
        recorded = await ledger.queue.record(new if n % 3 else list(reversed(new)))
        return sum(recorded_.became == "recorded" for recorded_ in recorded)

    assert sum(await asyncio.gather(*(one(n) for n in range(10)))) == 40


PROMISES = [
    keeps_a_command_whole,
    recording_again_is_no_change,
    nothing_recorded_is_nothing,
    a_name_that_cannot_be_kept_is_refused_whole,
    odd_text_is_kept_readable,
    starts_what_it_may_at_once,
    nobody_is_overtaken_at_recording,
    what_only_waits_for_its_key_is_not_ahead,
    nothing_starts_without_a_lease,
    skips_while_its_key_is_active,
    only_one_of_a_skipped_key_is_recorded_by_many_at_once,
    the_same_commands_by_many_at_once_are_recorded_once,
]
