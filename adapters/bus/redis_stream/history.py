"""Streams read by time, with XRANGE: the ids of entries are the milliseconds at which Redis took them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from redis.exceptions import ResponseError

from adapters.bus.redis_stream import keys
from adapters.bus.redis_stream.entry import envelope_of
from adapters.bus.redis_stream.link import Link, checked
from adapters.bus.redis_stream.publishing import DEFAULT_PARTITIONS
from adapters.bus.redis_stream.ready import Ready
from adapters.bus.redis_stream.script import Command
from adapters.bus.redis_stream.server import NAME, Server
from adapters.bus.wire import instant, milliseconds
from contracts.errors import Conflict, NotFound, Unavailable
from contracts.message import Delivery, Partition
from contracts.ports.clock import Clock
from contracts.ports.history import Stretch

FIRST_ROWS = 16
"""How many entries are read before it is known what one weighs."""


class RedisHistory:
    """Implements `History`. Before version 7 Redis can't say whether entries were deleted: there nothing is `expired`.

    An incarnation is not needed: the ids of a stream that is made anew go on rising, since they are instants.
    """

    def __init__(self, server: Server, *, clock: Clock, timeout_s: float) -> None:
        self._server = server
        self._clock = clock
        self._timeout_s = timeout_s
        self._link: Link | None = None

    @property
    def address(self) -> str:
        return self._server.address

    async def open(self) -> None:
        if self._link is not None:
            return
        self._link = Link(self._server, clock=self._clock, timeout_s=self._timeout_s, name="history")
        try:
            await self._link.call("PING")
        except BaseException:
            await self.close()
            raise

    async def check(self) -> None:
        await self._opened().call("PING")

    async def close(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    async def stretches(
        self, address: str, *, from_at: datetime | None = None, to_at: datetime | None = None
    ) -> list[Stretch]:
        streams = await self._streams(address)
        link = self._opened()
        infos = [_info(reply) for reply in await link.calls([("XINFO", "STREAM", stream) for stream in streams])]
        begin = "-" if from_at is None else keys.id_of(_position_at(from_at))
        firsts = await link.calls([("XRANGE", stream, begin, "+", "COUNT", 1) for stream in streams])
        found = []
        for index, (info, reply) in enumerate(zip(infos, firsts, strict=True)):
            ends = _position(info.get(b"last-generated-id")) + 1
            if to_at is not None:
                ends = min(ends, _position_at(to_at))
            entries = checked(reply)
            begins = min(keys.position_of(entries[0][0]), ends) if entries else ends
            oldest = info.get(b"first-entry")
            oldest_at = instant(keys.position_of(oldest[0]) >> keys.SEQ_BITS) if oldest else None
            length = info.get(b"length", 0)
            deleted = info.get(b"entries-added", length) > length
            found.append(
                Stretch(
                    partition=Partition(address, index),
                    incarnation="",
                    first=begins,
                    end=ends,
                    messages=length if from_at is None and to_at is None else None,
                    oldest_at=oldest_at,
                    expired=from_at is not None and deleted and (oldest_at is None or oldest_at > from_at),
                )
            )
        return found

    @asynccontextmanager
    async def reader(self, stretches: Sequence[Stretch], *, rows: int, size_bytes: int) -> AsyncIterator[RedisReader]:
        left = {stretch.partition: stretch for stretch in stretches if not stretch.is_empty}
        streams = {}
        for address in {partition.address for partition in left}:
            for index, stream in enumerate(await self._streams(address)):
                streams[Partition(address, index)] = stream
        if gone := [partition for partition in left if partition not in streams]:
            raise Conflict(f"{gone[0].address} has no partition {gone[0].index} any more: it was made anew")
        yield RedisReader(self._opened(), left, streams, rows=rows, size_bytes=size_bytes)

    async def _streams(self, address: str) -> list[str]:
        """By partition; the bare address is the last one."""
        link = self._opened()
        number, bare = await link.calls([("HGET", keys.about(address), "partitions"), ("EXISTS", address)])
        if checked(number) is None and not checked(bare):
            raise NotFound(f"there is no stream {address!r} in {self.address}")
        # Nobody has said how many there are: then nobody but strangers has written to it, and they to the bare one.
        partitions = int(number) if number is not None else DEFAULT_PARTITIONS
        return [keys.stream_of(address, index, partitions) for index in range(partitions + 1)]

    def _opened(self) -> Link:
        if self._link is None:
            raise Unavailable(NAME, "the history is not open; call `open()` first")
        return self._link


class RedisReader:
    """Implements `Reader`. How many entries are asked for goes by what those before them weighed, and doubles at most.

    Each time it begins with the entry that was read last: where that is not there any more, others behind it may be
    gone as well.
    """

    def __init__(
        self,
        link: Link,
        stretches: Mapping[Partition, Stretch],
        streams: Mapping[Partition, str],
        *,
        rows: int,
        size_bytes: int,
    ) -> None:
        self._link = link
        self._stretches = stretches
        self._streams = streams
        self._most_rows = rows
        self._size_bytes = size_bytes
        self._next = {partition: stretch.first for partition, stretch in stretches.items()}
        self._rows = dict.fromkeys(stretches, min(rows, FIRST_ROWS))
        self._ready: dict[Partition, Ready] = {}

    async def following(self, partition: Partition) -> Sequence[Delivery]:
        ready = self._ready.setdefault(partition, Ready())
        stretch = self._stretches.get(partition)
        if not ready and stretch is not None and self._next[partition] < stretch.end:
            await self._fetch(stretch, ready)
        return ready.take(self._most_rows, self._size_bytes)

    async def _fetch(self, stretch: Stretch, ready: Ready) -> None:
        partition = stretch.partition
        stream, at, rows = self._streams[partition], self._next[partition], self._rows[partition]
        command: Command = ("XRANGE", stream, keys.id_before(at), keys.id_before(stretch.end), "COUNT", rows + 1)
        entries = await self._link.call(*command)
        if not entries or keys.position_of(entries[0][0]) > at:
            raise Conflict(
                f"{stream}: what lies from {keys.id_of(at)} on was deleted before it was read: begin anew with what is "
                "left"
            )
        fresh = [entry for entry in entries if keys.position_of(entry[0]) >= at][:rows]
        taken = [
            Delivery(envelope_of(partition.address, stream, id_, tuple(flat)), partition, keys.position_of(id_))
            for id_, flat in fresh
        ]
        size_bytes = sum(one.size_bytes for one in taken)
        ready.add(taken, size_bytes)
        self._next[partition] = taken[-1].position + 1 if taken else stretch.end
        fitting = self._size_bytes * len(taken) // max(1, size_bytes)
        self._rows[partition] = max(1, min(self._most_rows, 2 * rows, fitting))


def _info(reply: Any) -> dict[bytes, Any]:
    """What Redis says of a stream; nothing of one that is not there."""
    if isinstance(reply, ResponseError) and "no such key" in str(reply):
        return {}
    flat = checked(reply)
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _position(entry_id: bytes | None) -> int:
    return -1 if entry_id is None else keys.position_of(entry_id)


def _position_at(at: datetime) -> int:
    """The first position of that time, or later."""
    return max(0, milliseconds(at)) << keys.SEQ_BITS
