"""What ending runs, progress and checkpoints promise."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import msgspec
import pytest

from adapters.ledger import storable
from contracts.errors import BadInput, LeaseLost
from contracts.job import JobState, Progress
from contracts.outcome import Cancelled, Dead, Done, Outcome, Release, Retry
from contracts.ports.ledger import Settlement
from tests.conformance.ledger_world import ADDRESS, World, ids, job, listening


async def done_keeps_its_result(world: World) -> None:
    claim = await world.started()
    await world.ledger.queue.checkpoint(claim, b'{"at": 5}')
    await world.settle(claim, Retry(after_s=0, error="first", traceback="tb"))
    claim = await world.claim_one()
    assert await world.settle(claim, Done(), result=b'{"rows": 7, "ok": true}', progress=Progress(rows=7, message="m"))
    row = await world.row("a")
    assert (row.state, row.attempt, row.claims) == (JobState.DONE, 2, 2)
    assert row.result == {"rows": 7, "ok": True}
    assert row.progress == Progress(rows=7, message="m")
    assert (row.error, row.traceback, row.checkpoint, row.worker_id) == (None, None, None, "w1")
    assert row.recorded_at <= (row.started_at or row.recorded_at) <= (row.finished_at or row.recorded_at)
    assert row.command == {"n": 1}


async def a_failure_can_have_a_result(world: World) -> None:
    """Its run came to an end: there is nothing to go on from, and the next one has no result yet."""
    claim = await world.started()
    await world.ledger.queue.checkpoint(claim, b'{"at": 5}')
    await world.settle(claim, Retry(after_s=0, error="first", traceback="tb"))
    claim = await world.claim_one()
    assert await world.settle(claim, Dead(reason="", error="3 are wrong", result=[3]), result=b"[3]")
    row = await world.row("a")
    assert (row.state, row.result, row.error, row.checkpoint) == (JobState.FAILED, [3], "3 are wrong", None)
    await world.ledger.desk.retry("a")
    row = await world.row("a")
    assert (row.state, row.result, row.error) == (JobState.QUEUED, None, None)
    claim = await world.claim_one()
    assert claim.checkpoint is None
    await world.ledger.queue.checkpoint(claim, b'{"at": 6}')
    await world.settle(claim, Dead(reason="no luck"))
    row = await world.row("a")
    assert (row.result, row.checkpoint) == (None, {"at": 6}), "without one, a retry goes on from there"


async def a_retry_waits_and_counts(world: World) -> None:
    claim = await world.started()
    await world.settle(claim, Retry(after_s=50, error="no luck", traceback="tb"))
    row = await world.row("a")
    assert (row.state, row.attempt, row.error, row.traceback) == (JobState.QUEUED, 1, "no luck", "tb")
    assert row.finished_at is None
    assert (row.not_before - row.recorded_at).total_seconds() >= 50
    assert await world.claim() == []
    await world.age(51)
    await world.join()
    claim = await world.claim_one()
    assert (claim.attempt, claim.claims) == (2, 2)
    await world.settle(claim, Retry(after_s=0, counts=False, error="again"))
    assert (await world.claim_one()).attempt == 2


async def a_release_costs_nothing(world: World) -> None:
    claim = await world.started()
    await world.ledger.queue.checkpoint(claim, b"[1]")
    await world.settle(claim, Release(reason="drain"), progress=Progress(rows=1))
    row = await world.row("a")
    assert (row.state, row.attempt, row.error, row.checkpoint) == (JobState.QUEUED, 0, None, [1])
    assert row.progress == Progress(rows=1)
    claim = await world.claim_one()
    assert (claim.attempt, claim.claims, claim.checkpoint) == (1, 2, b"[1]")
    await world.settle(claim, Release(reason="breaker", after_s=50))
    assert await world.claim() == []


async def what_is_released_keeps_its_place(world: World) -> None:
    """What a drain hands back is first again; what failed goes behind those that wait."""
    await world.started("a")
    await world.record("b", "c")
    [b] = await world.claim(slots=1)
    await world.record("d", "e")
    await world.settle(b, Release(reason="drain"))
    await world.settle((await world.claim(slots=1))[0], Release(reason="drain", after_s=0.0))
    assert ids(await world.claim(slots=1)) == ["b"]
    [c] = await world.claim(slots=1)
    await world.settle(c, Retry(after_s=0))
    assert ids(await world.claim()) == ["d", "e", "c"]


async def the_dead_fail_and_the_cancelled_end(world: World) -> None:
    await world.join()
    await world.record("a", "b", "c")
    a, b, c = await world.claim()
    await world.settle(a, Dead(reason="attempts used up", error="ValueError: x", traceback="tb"))
    await world.settle(b, Cancelled(reason="asked to"))
    await world.settle(c, Dead(reason="bad input"))
    row = await world.row("a")
    assert (row.state, row.attempt, row.traceback) == (JobState.FAILED, 1, "tb")
    assert row.error == "attempts used up: ValueError: x"
    assert ((await world.row("b")).state, (await world.row("b")).error) == (JobState.CANCELLED, "asked to")
    assert (await world.row("c")).error == "bad input"
    assert all([(await world.row(id_)).finished_at for id_ in ("a", "b", "c")])
    assert await world.claim() == []


async def many_ends_in_one_call(world: World) -> None:
    await world.join()
    outcomes: list[Outcome] = [
        Done(),
        Retry(after_s=0),
        Dead(reason="r"),
        Cancelled(),
        Release(reason="r"),
        Retry(after_s=math.nan),
        Release(reason="r", after_s=math.inf),
        Retry(after_s=-5),
    ]
    await world.record(*(f"{n}" for n in range(len(outcomes))))
    claims = await world.claim()
    ends = [Settlement(claim=claim, outcome=outcome) for claim, outcome in zip(claims, outcomes, strict=True)]
    stale = Settlement(claim=msgspec.structs.replace(claims[1], fence=7), outcome=Done())
    unknown = Settlement(claim=msgspec.structs.replace(claims[1], id="?"), outcome=Done())
    answers = await world.ledger.queue.settle([stale, *ends, unknown, ends[1]])
    assert answers == [False, *[True] * len(outcomes), False, False]
    states = [(await world.row(claim.id)).state.value for claim in claims]
    assert states == ["done", "queued", "failed", "cancelled", "queued", "queued", "queued", "queued"]
    assert sorted(ids(await world.claim())) == ["1", "4", "5", "7"], "6 waits for as long as one may"
    assert await world.ledger.queue.settle([]) == []


async def a_lost_fence_changes_nothing(world: World) -> None:
    old = await world.started()
    assert await world.reaped() == ["a"]
    assert not await world.settle(old)
    with pytest.raises(LeaseLost):
        await world.ledger.queue.checkpoint(old, b"1")
    new = await world.claim_one()
    assert new.fence > old.fence
    for end in (Done(), Retry(after_s=0), Dead(reason="r"), Cancelled(), Release(reason="r")):
        assert not await world.settle(old, end, result=b"1", progress=Progress(rows=9))
    with pytest.raises(LeaseLost, match="job a"):
        await world.ledger.queue.checkpoint(old, b"1")
    assert await world.ledger.queue.note([(old, Progress(rows=9))]) == ["a"]
    row = await world.row("a")
    assert (row.state, row.progress, row.checkpoint, row.result) == (JobState.RUNNING, None, None, None)
    assert await world.settle(new)
    assert not await world.settle(old, Retry(after_s=0))


async def an_end_told_twice_is_one(world: World) -> None:
    claim = await world.started()
    assert await world.settle(claim, Done(), result=b"1")
    finished_at = (await world.row("a")).finished_at
    assert await world.settle(claim, Done(), result=b"2"), "the first answer may have been lost on its way"
    assert not await world.settle(claim, Dead(reason="r"))
    row = await world.row("a")
    assert (row.state, row.result, row.finished_at, row.attempt) == (JobState.DONE, 1, finished_at, 1)


async def an_ugly_end_is_its_own_affair(world: World) -> None:
    """Whatever one run leaves behind, its neighbours in the batch are settled as they asked, and so is it."""
    ugly: list[tuple[Outcome, bytes | None, JobState]] = [
        (Dead(reason="\x00\ud800", error="e\x00", traceback="t\udfff" * 9), None, JobState.FAILED),
        (Retry(after_s=9, error="é\x00" * 50_000, traceback="x" * 500_000), None, JobState.QUEUED),
        (Cancelled(reason="\x00"), None, JobState.CANCELLED),
        (Done(), rb'{"a": "\u0000", "\u0000b": "\\u0000"}', JobState.DONE),
        (Done(), rb'["\ud800", "\uD83D\uDE00"]', JobState.DONE),
        (Done(), b"not json", JobState.FAILED),
        (Done(), b'"\xff"', JobState.FAILED),
        (Done(), b'"' + b"x" * storable.JSON_BYTES + b'"', JobState.FAILED),
        (Done(), b"[" * 200_000 + b"]" * 200_000, JobState.FAILED),
        (Done(), b"1", JobState.DONE),
    ]
    await world.join()
    await world.record(*(f"j{n}" for n in range(len(ugly))))
    claims = await world.claim()
    odd = Progress(rows=1, message="p\x00\ud800" * 1000)
    settlements = [
        Settlement(claim=claim, outcome=outcome, result=result, progress=odd)
        for claim, (outcome, result, _) in zip(claims, ugly, strict=True)
    ]
    assert all(await world.ledger.queue.settle(settlements))
    rows = [await world.row(claim.id) for claim in claims]
    assert [row.state for row in rows] == [state for _, _, state in ugly]
    for row in rows:
        assert len((row.error or "").encode()) <= storable.TEXT_BYTES
        assert len((row.traceback or "").encode()) <= storable.TEXT_BYTES
        assert row.progress is not None
    assert rows[3].result == {"a": "\ufffd", "\ufffdb": "\\u0000"}
    assert rows[4].result == ["\ufffd", "😀"]
    assert "the result is not JSON" in (rows[5].error or "")
    assert "write it to a file" in (rows[7].error or "")


async def progress_is_noted(world: World) -> None:
    claim = await world.started()
    said = Progress(rows=10, bytes=2, total_rows=100, message="loading")
    assert await world.ledger.queue.note([(claim, said)]) == []
    assert (await world.row("a")).progress == said
    assert await world.ledger.queue.note([(claim, None)]) == []
    assert (await world.row("a")).progress == said, "None only asks"
    assert await world.ledger.queue.note([]) == []
    await world.settle(claim)
    assert await world.ledger.queue.note([(claim, said)]) == ["a"]


async def a_cancellation_is_heard_of(world: World) -> None:
    await world.join()
    await world.record("a", "b", "c", "d")
    claims = {claim.id: claim for claim in await world.claim()}
    async with listening(world.ledger) as woken:
        for id_ in ("a", "b", "c"):
            assert await world.twin.desk.cancel(id_) is JobState.RUNNING
        await woken()
    notes = [(claim, Progress(rows=1) if claim.id == "a" else None) for claim in claims.values()]
    assert sorted(await world.ledger.queue.note(notes)) == ["a", "b", "c"]
    row = await world.row("a")
    assert (row.state, row.progress) == (JobState.RUNNING, Progress(rows=1))
    assert row.cancel_requested_at is not None
    await world.settle(claims["a"], Retry(after_s=5))
    await world.settle(claims["b"], Release(reason="drain"))
    await world.settle(claims["c"], Done())
    states = [(await world.row(id_)).state for id_ in ("a", "b", "c")]
    assert states == [JobState.CANCELLED, JobState.CANCELLED, JobState.DONE]
    assert (await world.row("a")).finished_at is not None


async def a_checkpoint_is_for_the_next_run(world: World) -> None:
    claim = await world.started()
    await world.ledger.queue.checkpoint(claim, b'{"at": 1}')
    await world.ledger.queue.checkpoint(claim, rb'{"at": 2, "name": "\u0000"}')
    assert (await world.row("a")).checkpoint == {"at": 2, "name": "\ufffd"}
    await world.reaped()
    again = await world.claim_one()
    assert again.checkpoint is not None
    assert msgspec.json.decode(again.checkpoint) == {"at": 2, "name": "\ufffd"}
    for wrong in (b"{", b"", b'"' + b"x" * storable.JSON_BYTES + b'"'):
        with pytest.raises(BadInput, match="the checkpoint"):
            await world.ledger.queue.checkpoint(again, wrong)


async def an_ended_key_wakes_those_who_wait_for_it(world: World) -> None:
    claim = await world.started("a", unique_key="k")
    await world.record("b", unique_key="k")
    async with listening(world.twin) as woken:
        await world.settle(claim)
        await woken()
    assert ids(await world.claim()) == ["b"]


async def what_is_left_queued_wakes(world: World) -> None:
    await world.join()
    async with listening(world.twin) as woken, listening(world.twin) as woken_too:
        await world.ledger.queue.record([job("a"), job("b")], worker_id="w1", slots={ADDRESS: 1})
        await asyncio.gather(woken(), woken_too())
        [claim] = await world.claim()
        await world.settle(claim, Release(reason="drain"))
        await woken()


async def wakes_end_when_the_ledger_closes(world: World) -> None:
    seen: list[Any] = []

    async def listen() -> None:
        async for item in world.ledger.queue.wakeups():
            seen.append(item)
            listens.set()

    listens = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(listen())
        await listens.wait()
        await world.ledger.close()
    assert seen == [None]


PROMISES = [
    done_keeps_its_result,
    a_failure_can_have_a_result,
    a_retry_waits_and_counts,
    a_release_costs_nothing,
    what_is_released_keeps_its_place,
    the_dead_fail_and_the_cancelled_end,
    many_ends_in_one_call,
    a_lost_fence_changes_nothing,
    an_end_told_twice_is_one,
    an_ugly_end_is_its_own_affair,
    progress_is_noted,
    a_cancellation_is_heard_of,
    a_checkpoint_is_for_the_next_run,
    an_ended_key_wakes_those_who_wait_for_it,
    what_is_left_queued_wakes,
    wakes_end_when_the_ledger_closes,
]
