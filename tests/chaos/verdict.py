"""What must hold after a storm, whatever it was: every effect once and in order, and nothing left in flight."""

from __future__ import annotations

from collections.abc import Collection

from contracts.ports import Db
from tests.kit.waiting import until


async def faults_of(db: Db, *, left: Collection[int]) -> list[str]:
    """In words. `left` are the pids of workers that have left in an orderly way."""
    return [
        *await _of_effects(db),
        *await _of_jobs(db),
        *await _of_what_is_left(db),
        *await _of_holders(db, left),
    ]


async def _of_effects(db: Db) -> list[str]:
    twice = await db.fetch(
        "select kind, name, number, count(*) as times from effects group by 1, 2, 3 having count(*) > 1 limit 10"
    )
    disorder = await db.fetch(
        "select kind, name, number from (select kind, name, number, lag(number) over"
        " (partition by kind, name order by at) as before from effects where kind in ('taken', 'seen')) as one"
        " where number <> coalesce(before + 1, 0) limit 10"
    )
    return [
        *(f"{row['kind']} {row['name']} {row['number']} is there {row['times']} times" for row in twice),
        *(f"{row['kind']} {row['name']} {row['number']} is out of order" for row in disorder),
    ]


async def _of_jobs(db: Db) -> list[str]:
    rows = await db.fetch("select id, state, error from millrace.jobs where state <> 'done' limit 10")
    return [f"job {row['id']} is {row['state']}: {row['error']}" for row in rows]


async def _of_what_is_left(db: Db) -> list[str]:
    letters = await db.fetch("select address, reason, error from millrace.dead_letters limit 10")
    parked = await db.fetch_value("select count(*) from millrace.parked")
    unsent = await db.fetch_value("select count(*) from millrace.outbox")
    return [
        *(f"buried: {row['address']}, {row['reason']}: {row['error']}" for row in letters),
        *([f"{parked} messages are still parked"] if parked else []),
        *([f"{unsent} messages are still in the outbox"] if unsent else []),
    ]


async def _of_holders(db: Db, left: Collection[int]) -> list[str]:
    """Who was killed holds what it held until its lease has run out; who has left holds nothing at once.

    What may have killed a worker stays suspect until someone has tried it: that outlives all of them."""
    rows = await db.fetch(
        "select w.pid, count(p.id) as held from millrace.workers w"
        " left join millrace.partitions p on p.worker_id = w.id where w.lease_until > clock_timestamp() group by w.id"
    )
    faults = [
        f"worker {row['pid']} has left, and has its lease still, with {row['held']} partitions"
        for row in rows
        if row["pid"] in left
    ]

    async def nobody_lives() -> bool:
        return not await db.fetch_value("select count(*) from millrace.workers where lease_until > clock_timestamp()")

    try:
        await until(nobody_lives, timeout_s=30, what="the end of the leases")
    except AssertionError as error:
        faults.append(f"{error}: somebody renews a lease")
    return faults
