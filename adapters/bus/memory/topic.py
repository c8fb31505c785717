"""One address: its partitions and groups, how full it is, and who waits for room."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from datetime import datetime
from typing import TYPE_CHECKING
from zlib import crc32

import msgspec

from adapters.bus.memory.group import Group
from adapters.bus.memory.partition import Records
from adapters.bus.memory.past import Past
from contracts.errors import Conflict, Faults, Transient
from contracts.message import Envelope, Partition

if TYPE_CHECKING:
    from adapters.bus.memory.log import MemoryLog
    from adapters.bus.memory.member import Lease

_logger = logging.getLogger("millrace.bus")

DEFAULT_PARTITIONS = 8


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """How much an address holds of what is not committed by all its groups, and how long a publisher waits for room.
    Of what they have committed the newest `past_messages` and `past_bytes` stay, for who reads by time."""

    max_messages: int = 100_000
    max_bytes: int = 128 * 1024 * 1024
    publish_wait_s: float = 5.0
    dead_letters: int = 1_000
    past_messages: int = 20_000
    past_bytes: int = 16 * 1024 * 1024


class AddressStats(msgspec.Struct, frozen=True, kw_only=True):
    """A look at one address, for metrics, messages and tests."""

    messages: int
    size_bytes: int
    waiting: int
    """Publishers that wait for room."""
    expired: int
    """Messages that fell out of an address that no group reads."""
    lag: dict[str, int]


class _Waiting(msgspec.Struct, eq=False):
    """A publisher that waits for room, with what it wants to publish."""

    envelope: Envelope
    size_bytes: int
    accepted: asyncio.Future[None]


class Topic:
    """One address: its partitions, its groups, and how full it is."""

    def __init__(self, log: MemoryLog, address: str) -> None:
        self.log = log
        self.address = address
        self.incarnation = log.clock.new_id()
        """Which making of the address this is; a `MemoryLog` that drops it makes another."""
        self.owners: dict[str, list[Lease | None]] = {}
        """By group and partition: whose it is."""
        self._groups: dict[str, Group] = {}
        self._records: list[Records] = []  # made with the first group, so that early messages can still be spread
        self._early: deque[tuple[Envelope, int]] = deque()
        self._partitions: int | None = None
        self._delays = True
        self._turn = 0
        self._messages = 0
        self._bytes = 0
        self._expired = 0
        self._expired_at: datetime | None = None
        self._waiting: deque[_Waiting] = deque()

    def declare(self, partitions: int, *, delays: bool = True) -> None:
        if partitions < 1:
            raise Faults(f"address {self.address}", [f"{partitions} partitions: at least 1 is needed"])
        if self._partitions not in (None, partitions):
            raise Faults(
                f"address {self.address}",
                [f"declared with {partitions} partitions, and with {self._partitions} before: declare one number"],
            )
        self._partitions = partitions
        self._delays = self._delays and delays

    def made_anew(self) -> Topic:
        """The same address as it was declared, with nothing in it. Raises `Conflict` while it is in use."""
        if self._waiting or any(group.members for group in self._groups.values()):
            raise Conflict(f"{self.address} cannot be dropped: it is in use; close the buses that read or fill it")
        anew = Topic(self.log, self.address)
        anew._partitions, anew._delays = self._partitions, self._delays
        return anew

    def group(self, name: str, partitions: int | None) -> Group:
        if partitions is not None:
            self.declare(partitions)
        if not self._records:
            self._partitions = self._partitions or DEFAULT_PARTITIONS
            self._records = [
                Records(Partition(self.address, index), self._past(self._partitions))
                for index in range(self._partitions)
            ]
        if name not in self._groups:
            self._groups[name] = Group(name, self._records)
            self.owners[name] = [None] * len(self._records)
            while self._early:
                self._place(*self._early.popleft())
        return self._groups[name]

    def has_room(self, size_bytes: int) -> bool:
        """Whether it may go in at once: nobody waits before it, and there is room or the oldest may be dropped."""
        return not self._waiting and (self._fits(size_bytes) or (not self._groups and bool(self._early)))

    def accept(self, envelope: Envelope, size_bytes: int) -> None:
        """Count the message, and give it its position now or when it is due."""
        self._messages += 1
        self._bytes += size_bytes
        due_at = envelope.not_before
        if self._delays and due_at is not None and due_at > self.log.clock.now():
            self.log.call_at(due_at, lambda: self._place(envelope, size_bytes))
        else:
            self._place(envelope, size_bytes)

    async def wait_for_room(self, envelope: Envelope, size_bytes: int) -> None:
        """First come, first served; whoever makes room puts the message in."""
        waiting = _Waiting(envelope, size_bytes, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        try:
            async with self.log.clock.timeout(self.log.bounds.publish_wait_s):
                await waiting.accepted
        except TimeoutError:
            if not waiting.accepted.done() or waiting.accepted.cancelled():
                raise Transient(self._why_full()) from None
        finally:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
                self._admit()

    def lines(self) -> tuple[str, list[Records]]:
        """What there is of each partition, and of which making of them it is. As long as nobody has said how many there
        are, everything is a copy in one: which one it is to be in is not known yet."""
        if self._records:
            return self.incarnation, self._records
        line = Records(Partition(self.address, 0), start=self._expired)
        line.past.forgotten_at = self._expired_at
        for envelope, size_bytes in self._early:
            line.append(envelope, size_bytes)
        return f"{self.incarnation} early", [line]

    def trim(self, index: int) -> None:
        """Drop what every group has committed of a partition, and let those in who wait for room."""
        records = self._records[index]
        cursors = [group.cursors[index] for group in self._groups.values()]
        count, freed_bytes = records.drop_below(min(cursor.needed_from for cursor in cursors))
        if count:
            self._messages -= count
            self._bytes -= freed_bytes
            if self._waiting:
                self._admit()

    def stats(self) -> AddressStats:
        return AddressStats(
            messages=self._messages,
            size_bytes=self._bytes,
            waiting=len(self._waiting),
            expired=self._expired,
            lag={name: group.lag for name, group in self._groups.items()},
        )

    def _place(self, envelope: Envelope, size_bytes: int) -> None:
        if not self._groups:
            self._early.append((envelope, size_bytes))
            self._expire()
            return
        index = self._index_of(envelope.key)
        self._records[index].append(envelope, size_bytes)
        for owners in self.owners.values():
            if (lease := owners[index]) is not None:
                lease.signal()

    def _index_of(self, key: str | None) -> int:
        if key is None:
            self._turn += 1
            return self._turn % len(self._records)
        return crc32(key.encode(errors="surrogatepass")) % len(self._records)

    def _past(self, partitions: int) -> Past:
        bounds = self.log.bounds
        return Past(most=bounds.past_messages // partitions, most_bytes=bounds.past_bytes // partitions)

    def _fits(self, size_bytes: int) -> bool:
        bounds = self.log.bounds
        return self._messages < bounds.max_messages and self._bytes + size_bytes <= bounds.max_bytes

    def _admit(self) -> None:
        while self._waiting and self._fits(self._waiting[0].size_bytes):
            waiting = self._waiting.popleft()
            if not waiting.accepted.done():
                self.accept(waiting.envelope, waiting.size_bytes)
                waiting.accepted.set_result(None)

    def _expire(self) -> None:
        bounds = self.log.bounds
        while self._early and (self._messages > bounds.max_messages or self._bytes > bounds.max_bytes):
            envelope, size_bytes = self._early.popleft()
            self._messages -= 1
            self._bytes -= size_bytes
            self._expired += 1
            self._expired_at = envelope.published_at
            if self._expired == 1:
                _logger.warning(
                    "%s has no consumer and is full (%s): its oldest messages are dropped", self.address, self._bounds()
                )

    def _why_full(self) -> str:
        slowest = max(self._groups.values(), key=lambda group: group.lag, default=None)
        behind = f"group {slowest.name!r} has {slowest.lag:,} to commit" if slowest else "no group reads it"
        return (
            f"{self.address} is full: {self._messages:,} messages with {self._bytes:,} bytes are outstanding "
            f"({self._bounds()}), {behind}, and no room came within {self.log.bounds.publish_wait_s:g} s; "
            "try again later, or make its consumer faster"
        )

    def _bounds(self) -> str:
        return f"bounds: {self.log.bounds.max_messages:,} messages, {self.log.bounds.max_bytes:,} bytes"
