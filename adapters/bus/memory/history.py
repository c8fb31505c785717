"""Addresses read by time: what is outstanding, and what stayed of all that was finished."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import islice

from adapters.bus.memory.log import MemoryLog
from adapters.bus.memory.partition import Records
from adapters.bus.memory.topic import Topic
from contracts.errors import Conflict, NotFound
from contracts.message import Delivery, Partition
from contracts.ports.history import Stretch

LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)


class MemoryHistory:
    """Implements `History`."""

    address = "memory://in-process"

    def __init__(self, log: MemoryLog) -> None:
        self._log = log

    async def open(self) -> None:
        """There is nothing to connect to."""

    async def check(self) -> None:
        """It is there as long as the process is."""

    async def close(self) -> None:
        """There is nothing to disconnect from."""

    async def stretches(
        self, address: str, *, from_at: datetime | None = None, to_at: datetime | None = None
    ) -> list[Stretch]:
        incarnation, lines = self._topic(address).lines()
        return [_stretch(line, incarnation, from_at, to_at) for line in lines]

    @asynccontextmanager
    async def reader(self, stretches: Sequence[Stretch], *, rows: int, size_bytes: int) -> AsyncIterator[MemoryReader]:
        lines: dict[Partition, Records] = {}
        for stretch in stretches:
            if stretch.partition not in lines:
                made, of_address = self._topic(stretch.partition.address).lines()
                lines |= {line.partition: line for line in of_address}
                if made != stretch.incarnation:
                    raise Conflict(f"{stretch.partition.address} was made anew since it was decided what to read of it")
        yield MemoryReader(lines, stretches, rows=rows, size_bytes=size_bytes)

    def _topic(self, address: str) -> Topic:
        topic = self._log.find(address)
        if topic is None:
            raise NotFound(f"nothing was ever published to {address!r} on the memory bus of this process")
        return topic


class MemoryReader:
    """Implements `Reader`."""

    def __init__(
        self, lines: Mapping[Partition, Records], stretches: Sequence[Stretch], *, rows: int, size_bytes: int
    ) -> None:
        self._lines = lines
        self._next = {stretch.partition: stretch.first for stretch in stretches}
        self._end = {stretch.partition: stretch.end for stretch in stretches}
        self._rows = rows
        self._size_bytes = size_bytes

    async def following(self, partition: Partition) -> Sequence[Delivery]:
        at, end = self._next.get(partition, 0), self._end.get(partition, 0)
        taken: list[Delivery] = []
        size_bytes = 0
        for delivery in _from(self._lines[partition], at) if at < end else ():
            size_bytes += delivery.size_bytes
            full = len(taken) == self._rows or size_bytes > self._size_bytes
            if delivery.position >= end or (taken and full):
                break
            taken.append(delivery)
        if at < end and (not taken or taken[0].position > at):
            raise Conflict(
                f"{partition.address}, partition {partition.index}: what lies from {at} on was dropped before it was "
                "read: the memory bus keeps little of what is finished"
            )
        if taken:
            self._next[partition] = taken[-1].position + 1
        return taken


def _stretch(line: Records, incarnation: str, from_at: datetime | None, to_at: datetime | None) -> Stretch:
    oldest = next(_from(line, 0), None)
    first = line.end if oldest is None else oldest.position
    begins = first if from_at is None else _first_at(line, from_at)
    ends = line.end if to_at is None else max(first, _first_at(line, to_at))
    begins = min(begins, ends)
    forgotten_at = line.past.forgotten_at
    return Stretch(
        partition=line.partition,
        incarnation=incarnation,
        first=begins,
        end=ends,
        messages=ends - begins,
        oldest_at=None if oldest is None else _time_of(oldest),
        expired=from_at is not None and forgotten_at is not None and forgotten_at >= from_at,
    )


def _from(line: Records, position: int) -> Iterator[Delivery]:
    for piece in line.pieces():
        if piece[-1].position >= position:
            yield from islice(piece, max(0, position - piece[0].position), None)


def _first_at(line: Records, at: datetime) -> int:
    """The position of the first message of that time, or later; the end where there is none."""
    return next((one.position for one in _from(line, 0) if _time_of(one) >= at), line.end)


def _time_of(delivery: Delivery) -> datetime:
    return delivery.envelope.published_at or LONG_AGO
