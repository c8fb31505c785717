"""Partitions as one stream: each in its own order, all together by time, in bounded batches."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from contracts.message import Delivery, Envelope, Partition
from contracts.ports.history import Stretch
from modules.stream_replay.merge import Merged

T0 = datetime(2026, 1, 1, tzinfo=UTC)
Times = list[list[int | None]]


class Kept:
    """A `Reader` over lists, which hands out a few at a time."""

    def __init__(self, partitions: Sequence[Sequence[Delivery]], rows: int) -> None:
        self._left = {Partition("t", index): list(messages) for index, messages in enumerate(partitions)}
        self._rows = rows

    async def following(self, partition: Partition) -> Sequence[Delivery]:
        taken, self._left[partition] = self._left[partition][: self._rows], self._left[partition][self._rows :]
        return taken


def delivery(index: int, position: int, at: int | None, size_bytes: int) -> Delivery:
    published_at = None if at is None else T0 + timedelta(seconds=at)
    body = b"x" * size_bytes
    envelope = Envelope(id=f"{index}-{position}", address="t", body=body, published_at=published_at)
    return Delivery(envelope, Partition("t", index), position)


def taken(partitions: list[list[Delivery]], *, at_once: int, rows: int, size_bytes: int) -> list[list[Delivery]]:
    stretches = [
        Stretch(partition=Partition("t", index), incarnation="", first=0, end=len(messages))
        for index, messages in enumerate(partitions)
    ]

    async def run() -> list[list[Delivery]]:
        merged = Merged(Kept(partitions, at_once), stretches)
        batches = []
        while batch := await merged.take(rows, size_bytes):
            batches.append(batch)
        return batches

    return asyncio.run(run())


instants = st.lists(st.lists(st.none() | st.integers(0, 30), max_size=12), max_size=5)


@given(instants, st.integers(1, 5), st.integers(1, 7), st.integers(1, 40), st.integers(0, 20))
def test_nothing_is_lost_and_no_partition_is_out_of_order(
    times: Times, at_once: int, rows: int, bound_bytes: int, size_bytes: int
) -> None:
    partitions = [[delivery(n, at, time, size_bytes) for at, time in enumerate(each)] for n, each in enumerate(times)]
    batches = taken(partitions, at_once=at_once, rows=rows, size_bytes=bound_bytes)
    for batch in batches:
        assert len(batch) <= rows
        assert len(batch) == 1 or sum(one.size_bytes for one in batch) <= bound_bytes
    merged = [one for batch in batches for one in batch]
    for index, messages in enumerate(partitions):
        assert [one for one in merged if one.partition.index == index] == messages


@given(st.lists(st.lists(st.integers(0, 30), max_size=12).map(sorted), max_size=5), st.integers(1, 5))
def test_partitions_that_are_in_order_of_time_are_so_together(times: list[list[int]], at_once: int) -> None:
    partitions = [[delivery(n, at, time, 1) for at, time in enumerate(each)] for n, each in enumerate(times)]
    merged = [one for batch in taken(partitions, at_once=at_once, rows=3, size_bytes=100) for one in batch]
    instants = [one.envelope.published_at or T0 for one in merged]
    assert instants == sorted(instants)
