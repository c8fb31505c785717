"""New jobs as the arrays that the `record` statement takes, and what its answer says of each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from adapters.ledger import storable
from adapters.ledger.postgres.literals import flags, numbers, texts
from adapters.ledger.rank import bounded
from contracts.job import Claim, NewJob
from contracts.ports.ledger import Recorded

Placed = tuple[int, NewJob]
"""A job with its place in the sequence that is recorded."""


def columns_of(fresh: Mapping[str, Placed], active: Mapping[str, str] | None = None) -> tuple[Any, ...]:
    """Sorted by id; `active` has the jobs to be skipped, with the one that each is skipped for."""
    ids = sorted(fresh)
    places = [fresh[id_][0] for id_ in ids]
    jobs = [fresh[id_][1] for id_ in ids]
    nth = _nth(fresh)
    return (
        texts(ids),
        numbers(places),
        texts([storable.name(job.address, what="address") for job in jobs]),
        [job.body for job in jobs],
        texts([storable.headers(job.headers) if job.headers else None for job in jobs]),
        texts([storable.cut(job.correlation_id, keep=storable.NAME_BYTES) for job in jobs]),
        numbers([bounded(job.priority) for job in jobs]),
        [job.not_before for job in jobs],
        texts([storable.key(job.unique_key) for job in jobs]),
        flags([job.unique_skip for job in jobs]),
        texts([active.get(id_) for id_ in ids]) if active else "{}",
        numbers([nth.get(id_) for id_ in ids]),
    )


def recorded_of(fresh: Mapping[str, Placed], row: Any, active: Mapping[str, str] | None = None) -> dict[str, Recorded]:
    """By id. `known` is what the answer doesn't name."""
    became: dict[str, Recorded] = {id_: Recorded(id=id_, became="recorded") for id_ in row["queued"]}
    at: datetime = row["recorded_at"]
    for id_ in row["running"]:
        place, job = fresh[id_]
        became[id_] = Recorded(
            id=id_,
            became="recorded",
            claim=Claim(
                id=id_,
                address=job.address,
                body=job.body,
                fence=1,
                attempt=1,
                claims=1,
                headers=job.headers,
                correlation_id=job.correlation_id,
                recorded_at=at + timedelta(microseconds=place),
            ),
        )
    for id_ in row["skipped"]:
        became[id_] = Recorded(id=id_, became="skipped", active_id=(active or {})[id_])
    if len(became) < len(fresh):
        for id_ in fresh:
            became.setdefault(id_, Recorded(id=id_, became="known"))
    return became


def blocked_within(fresh: Mapping[str, Placed], *, known: set[str]) -> dict[str, str]:
    """The jobs to be skipped for an earlier one with their key in the same sequence, with that one's id."""
    first: dict[str, str] = {}
    blocked = {}
    for id_, (_, job) in sorted(fresh.items(), key=lambda one: one[1][0]):
        if (key := storable.key(job.unique_key)) is None or id_ in known:
            continue
        if first.setdefault(key, id_) != id_ and job.unique_skip:
            blocked[id_] = first[key]
    return blocked


def _nth(fresh: Mapping[str, Placed]) -> dict[str, int]:
    """Which may start at once, counted by address and best first. Those with a unique key go through the line; those
    with a not_before are counted last, since only the database knows whether it has passed."""
    line = sorted(
        (job.not_before is not None, -bounded(job.priority), place, id_)
        for id_, (place, job) in fresh.items()
        if job.unique_key is None
    )
    counted: dict[str, int] = defaultdict(int)
    nth = {}
    for *_, id_ in line:
        address = fresh[id_][1].address
        counted[address] += 1
        nth[id_] = counted[address]
    return nth
