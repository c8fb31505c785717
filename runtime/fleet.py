"""Who holds what: the living workers with their partitions and jobs, and what nobody holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from contracts.job import JobRow, JobState
from contracts.ports import Ledger
from contracts.ports.ledger import JobFilter
from contracts.ports.partitions import Holding

JOBS_SHOWN = 1000


class HeldPartition(msgspec.Struct, frozen=True, kw_only=True):
    """A partition for a group, as its holder last reported it. `worker_id` is who took it last, `held` whether that
    one lives; `since` is when it took it. `position` is text, since some buses' are larger than what is safe as a
    number in JSON; null is the bus's alone."""

    group: str
    address: str
    index: int
    lag: int
    open: int
    parked: int
    position: str | None
    epoch: int
    held: bool
    worker_id: str | None
    since: datetime | None
    reported_at: datetime | None


class HeldJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job that runs; `since` is when this run of it began."""

    id: str
    address: str
    attempt: int
    since: datetime | None
    worker_id: str | None

    @classmethod
    def of(cls, row: JobRow) -> HeldJob:
        return cls(id=row.id, address=row.address, attempt=row.attempt, since=row.started_at, worker_id=row.worker_id)


class FleetWorker(msgspec.Struct, frozen=True, kw_only=True):
    """A living worker; `running` counts its jobs, of which `jobs` has at most a thousand."""

    id: str
    host: str
    pid: int
    modules: tuple[str, ...]
    http: str
    version: str = ""
    started_at: datetime
    lease_until: datetime
    running: int
    partitions: tuple[HeldPartition, ...] = ()
    jobs: tuple[HeldJob, ...] = ()


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. `unheld` are partitions that nobody alive holds; `orphans` are jobs whose worker is gone, until
    another one puts them back."""

    workers: tuple[FleetWorker, ...]
    unheld: tuple[HeldPartition, ...]
    orphans: tuple[HeldJob, ...]


async def fleet_of(ledger: Ledger) -> Fleet:
    """As the ledger has it: three questions, so what changes meanwhile can show on one side only."""
    workers = await ledger.leases.workers()
    holdings = await ledger.partitions.holdings()
    running = await ledger.desk.list(JobFilter(states=(JobState.RUNNING,), limit=JOBS_SHOWN))
    living = {str(worker["id"]) for worker in workers}
    return put_together(workers, partitions(holdings, living), map(HeldJob.of, running))


def put_together(
    workers: Iterable[Mapping[str, Any]], partitions: Iterable[HeldPartition], jobs: Iterable[HeldJob]
) -> Fleet:
    """Each under its worker."""
    partitions, jobs = tuple(partitions), tuple(jobs)
    living = tuple(
        FleetWorker(
            **{name: worker[name] for name in worker if name in FleetWorker.__struct_fields__},
            partitions=tuple(one for one in partitions if one.worker_id == worker["id"]),
            jobs=tuple(one for one in jobs if one.worker_id == worker["id"]),
        )
        for worker in workers
    )
    ids = {worker.id for worker in living}
    return Fleet(
        workers=living,
        unheld=tuple(one for one in partitions if one.worker_id not in ids),
        orphans=tuple(one for one in jobs if one.worker_id not in ids),
    )


def partitions(holdings: Iterable[Holding], living: Iterable[str]) -> list[HeldPartition]:
    """Of which `living` tells who lives."""
    alive = frozenset(living)
    return [
        HeldPartition(
            group=one.group,
            address=one.partition.address,
            index=one.partition.index,
            lag=one.lag,
            open=one.open,
            parked=one.parked,
            position=None if one.position is None else str(one.position),
            epoch=one.epoch,
            held=one.worker_id in alive,
            worker_id=one.worker_id,
            since=one.taken_at,
            reported_at=one.reported_at,
        )
        for one in holdings
    ]
