"""What claiming promises: the best first, each to one worker, one of a key."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import msgspec

from adapters.ledger.rank import rank_us
from contracts.job import JobRow, JobState
from contracts.outcome import Done, Release, Retry
from contracts.ports.ledger import Settlement
from tests.conformance.ledger_world import ADDRESS, World, ids, job


def rank(row: JobRow) -> int:
    return rank_us(row.recorded_at, row.not_before, row.priority)


async def the_best_go_first(world: World) -> None:
    await world.join()
    await world.record("plain", "plain2")
    await world.record("urgent", priority=10)
    await world.record("whenever", priority=-10)
    assert ids(await world.claim(slots=2)) == ["urgent", "plain"]
    assert ids(await world.claim()) == ["plain2", "whenever"]


async def waiting_is_worth_priority(world: World) -> None:
    await world.join()
    await world.record("old")
    await world.age(61)
    await world.join()
    await world.record("young", priority=1)
    await world.record("urgent", priority=2)
    assert ids(await world.claim()) == ["urgent", "old", "young"]


async def not_before_its_time(world: World) -> None:
    await world.join()
    await world.record("now")
    due = (await world.row("now")).recorded_at + timedelta(seconds=100)
    await world.record("later", not_before=due, priority=100)
    await world.record("past", not_before=due - timedelta(days=9))
    assert ids(await world.claim()) == ["now", "past"]
    assert await world.claim(only=["later"]) == []
    due_s = await world.ledger.queue.next_due_s([ADDRESS])
    assert due_s is not None
    assert 0 < due_s <= 100
    await world.age(101)
    assert (await world.ledger.queue.next_due_s([ADDRESS]) or 1) <= 0
    await world.join()
    assert ids(await world.claim()) == ["later"]


async def what_is_due_next_is_of_these_addresses(world: World) -> None:
    queue = world.ledger.queue
    assert await queue.next_due_s([]) is None
    assert await queue.next_due_s([ADDRESS, "run.other"]) is None
    claim = await world.started("a", unique_key="k")
    assert await queue.next_due_s([ADDRESS]) is None
    await world.record("b", unique_key="k")
    assert await queue.next_due_s([ADDRESS]) is None, "b can't start before a ends"
    await world.record("other", address="run.other")
    assert await queue.next_due_s([ADDRESS]) is None
    assert (await queue.next_due_s([ADDRESS, "run.other"]) or 0) <= 0
    await world.settle(claim)
    due_s = await queue.next_due_s([ADDRESS])
    assert due_s is not None
    assert due_s <= 0


async def slots_are_by_address(world: World) -> None:
    await world.join()
    for address in ("run.a", "run.b", "run.c"):
        await world.record(*(f"{address}{n}" for n in range(4)), address=address)
    claims = await world.ledger.queue.claim("w1", {"run.a": 3, "run.b": 1, "run.c": 0})
    assert sorted(ids(claims)) == ["run.a0", "run.a1", "run.a2", "run.b0"]
    assert await world.ledger.queue.claim("w1", {}) == []
    assert await world.ledger.queue.claim("w1", {"run.c": -1}) == []


async def only_these(world: World) -> None:
    await world.join()
    await world.record("a", "b", "c", "d")
    await world.record("k1", "k2", unique_key="k")
    assert ids(await world.claim(only=["d", "b", "unknown"])) == ["b", "d"]
    assert ids(await world.claim(slots=1, only=["c", "a"])) == ["a"]
    assert ids(await world.claim(only=["k1", "k2"])) == ["k1"]
    assert await world.claim(only=["k2"]) == []


async def each_claim_raises_the_fence(world: World) -> None:
    claim = await world.started()
    for fence in (1, 2, 3):
        assert (claim.fence, claim.claims, claim.attempt) == (fence, fence, 1)
        assert await world.settle(claim, Release(reason="drain"))
        claim = await world.claim_one()
    row = await world.row("a")
    assert (row.claims, row.attempt, row.state) == (4, 1, JobState.RUNNING)


async def what_a_worker_does_not_know_of_is_told(world: World) -> None:
    """As when the answers to the claims of b and c were lost."""
    await world.join("w2")
    await world.join()
    await world.record("a", "b", "c", "done", "other", priority=1)
    known, *lost = await world.claim(only=["a", "b", "c"])
    [done] = await world.claim(only=["done"])
    assert await world.settle(done)
    await world.claim("w2")
    [fresh] = await world.ledger.queue.record([job("d")], worker_id="w1", slots={ADDRESS: 1})
    assert fresh.claim is not None
    strays = await world.twin.queue.strays("w1", [known, fresh.claim])
    assert strays == lost
    assert await world.twin.queue.strays("w1", [known, fresh.claim, *lost]) == []
    assert await world.twin.queue.strays("nobody", []) == []
    back = Release(reason="never heard of")
    assert await world.ledger.queue.settle([Settlement(claim=one, outcome=back) for one in strays]) == [True, True]
    [again] = await world.claim("w2", 1)
    assert (again.id, again.attempt, again.fence) == ("b", 1, 2), "uncharged"
    assert not await world.settle(lost[0], back), "late, it harms nothing"
    assert await world.ledger.queue.strays("w2", [again]) != []
    earlier = msgspec.structs.replace(again, fence=1)
    assert again in await world.ledger.queue.strays("w2", [earlier]), "an earlier run of the same job is not this one"


async def each_job_goes_to_one_claimer(world: World) -> None:
    workers = [await world.join(f"w{n}") for n in range(6)]
    await world.record(*(f"j{n:03}" for n in range(120)))
    taken: list[str] = []

    async def work(n: int) -> None:
        ledger = world.ledger if n % 2 else world.twin
        while claims := await ledger.queue.claim(workers[n], {ADDRESS: 7}):
            taken.extend(ids(claims))
            settled = await ledger.queue.settle([Settlement(claim=claim, outcome=Done()) for claim in claims])
            assert all(settled)

    await asyncio.gather(*(work(n) for n in range(6)))
    assert sorted(taken) == [f"j{n:03}" for n in range(120)]
    assert await world.ledger.desk.counts() == {(ADDRESS, JobState.DONE): 120}


async def one_of_a_key_runs(world: World) -> None:
    await world.join()
    await world.join("w2")
    await world.record(*(f"k{n}" for n in range(5)), unique_key="k")
    await world.record("free", priority=-1)
    first = await world.claim(slots=3)
    assert ids(first) == ["k0", "free"], "jobs of one key don't keep others from a free slot"
    assert await world.claim("w2") == []
    assert await world.claim("w2", only=["k3"]) == []
    await world.settle(first[0], Retry(after_s=0))
    assert ids(await world.claim("w2")) == ["k1"], "the one that failed went back behind those that wait"


async def one_of_a_key_runs_whatever_many_do_at_once(world: World) -> None:
    workers = [await world.join(f"w{n}") for n in range(6)]
    for n in range(30):
        await world.record(f"j{n}", unique_key=f"k{n % 3}", priority=n % 4)
    running: set[str] = set()
    done: list[str] = []

    async def work(n: int) -> None:
        ledger = world.ledger if n % 2 else world.twin
        for _ in range(200):
            claims = await ledger.queue.claim(workers[n], {ADDRESS: 4})
            for claim in claims:
                key = f"k{int(claim.id[1:]) % 3}"
                assert key not in running
                running.add(key)
            await asyncio.gather(*(ledger.desk.get(claim.id) for claim in claims))
            running.difference_update(f"k{int(claim.id[1:]) % 3}" for claim in claims)
            assert all(await ledger.queue.settle([Settlement(claim=claim, outcome=Done()) for claim in claims]))
            done.extend(ids(claims))
            if len(done) == 30:
                return

    await asyncio.gather(*(work(n) for n in range(6)))
    assert sorted(done) == sorted(f"j{n}" for n in range(30))


async def recorders_and_claimers_at_once_lose_nothing(world: World) -> None:
    workers = [await world.join(f"w{n}") for n in range(4)]
    done: list[str] = []

    async def work(n: int) -> None:
        ledger = world.ledger if n % 2 else world.twin
        for batch in range(5):
            new = [job(f"{n}-{batch}-{m}", priority=m % 3) for m in range(8)]
            recorded = await ledger.queue.record(new, worker_id=workers[n], slots={ADDRESS: 3})
            claims = [one.claim for one in recorded if one.claim]
            claims += await ledger.queue.claim(workers[n], {ADDRESS: 4})
            assert all(await ledger.queue.settle([Settlement(claim=claim, outcome=Done()) for claim in claims]))
            done.extend(ids(claims))

    await asyncio.gather(*(work(n) for n in range(4)))
    while claims := await world.claim("w0"):
        assert all(await world.ledger.queue.settle([Settlement(claim=claim, outcome=Done()) for claim in claims]))
        done.extend(ids(claims))
    assert len(done) == len(set(done)) == 4 * 5 * 8


PROMISES = [
    the_best_go_first,
    waiting_is_worth_priority,
    not_before_its_time,
    what_is_due_next_is_of_these_addresses,
    slots_are_by_address,
    only_these,
    each_claim_raises_the_fence,
    what_a_worker_does_not_know_of_is_told,
    each_job_goes_to_one_claimer,
    one_of_a_key_runs,
    one_of_a_key_runs_whatever_many_do_at_once,
    recorders_and_claimers_at_once_lose_nothing,
]
