"""What the memory buses of a process share: addresses, delay, answers and dead letters."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from heapq import heappop, heappush

import msgspec

from adapters.bus.memory.group import Group
from adapters.bus.memory.topic import AddressStats, Bounds, Topic
from contracts.errors import BadInput
from contracts.message import Delivery, Envelope
from contracts.ports.clock import Clock

_logger = logging.getLogger("millrace.bus")

REPLY_PREFIX = "_reply."  # no address of a route begins like this
OVERHEAD_BYTES = 256  # what an envelope costs beyond its payload, about
LONGEST_NAP_S = 60.0  # the wall clock may be set: the heap is looked at again at least this often


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A message that a native subscriber gave up."""

    delivery: Delivery
    group: str
    reason: str


class MemoryLog:
    """The shared state of a process's memory buses; it survives any one of them.

    Retention: a message is kept until every group of its address has committed it; then nobody is given it any more,
    and it stays a while for who reads by time (`Bounds` says how much does). While an address
    has no group at all, its newest messages are kept up to the bounds and go to the first group that appears; what
    falls out is counted and warned of once. A group that was there keeps its place, and its claim on messages, when
    its last member leaves. A group that comes later begins with what is retained.
    """

    def __init__(self, clock: Clock, bounds: Bounds | None = None) -> None:
        self.clock = clock
        self.bounds = bounds or Bounds()
        self.dead: deque[DeadLetter] = deque(maxlen=self.bounds.dead_letters)
        """What native subscribers gave up: the newest `dead_letters` of them."""
        self._asked: dict[str, asyncio.Future[Envelope]] = {}  # who waits for an answer, by address
        self._topics: dict[str, Topic] = {}
        self._later: list[tuple[datetime, int, Callable[[], None]]] = []  # a heap: instant, order, what to do
        self._scheduled = 0
        self._timers: list[asyncio.Event] = []

    def declare(self, address: str, partitions: int, *, delays: bool = True) -> None:
        """Fix the number of partitions before the first group appears. Raises `Faults` when it is fixed otherwise.

        Without `delays` a message that is to wait for its instant is handed over at once: its consumer keeps it.
        """
        self._topic(address).declare(partitions, delays=delays)

    def subscribe(self, address: str, group: str, partitions: int | None = None) -> tuple[Topic, Group]:
        """The group's place at the address, made if need be: from now on nothing is dropped that it didn't commit."""
        topic = self._topic(address)
        return topic, topic.group(group, partitions)

    def find(self, address: str) -> Topic | None:
        """An address that somebody has used, or declared."""
        return self._topics.get(address)

    def drop(self, address: str) -> None:
        """Delete an address with all that is in it; used again, it is a new one. Raises `Conflict` while it is in use.

        What waits for its instant is gone as well. Idempotent: an address that nobody has used is fine.
        """
        if address in self._topics:
            self._topics[address] = self._topics[address].made_anew()

    async def publish(self, envelope: Envelope) -> None:
        """Keep the message; waits for room up to the bounds' deadline, then raises `Transient`."""
        if envelope.address.startswith(REPLY_PREFIX):
            self._answer(envelope)
            return
        if not envelope.address:
            raise BadInput(f"message {envelope.id} has no address: say where it is to go, such as 'orders.raw'")
        topic = self._topic(envelope.address)
        size_bytes = _size_bytes(envelope)
        if size_bytes > self.bounds.max_bytes:
            raise BadInput(
                f"the message for {envelope.address} has {size_bytes:,} bytes and the memory bus holds "
                f"{self.bounds.max_bytes:,} for an address: send a reference to a file instead"
            )
        if topic.has_room(size_bytes):
            topic.accept(envelope, size_bytes)
        else:
            await topic.wait_for_room(envelope, size_bytes)

    @contextmanager
    def ask(self) -> Iterator[tuple[str, asyncio.Future[Envelope]]]:
        """An address that takes one answer, and the answer; what comes after the block is dropped."""
        address = REPLY_PREFIX + self.clock.new_id()
        answer = self._asked[address] = asyncio.get_running_loop().create_future()
        try:
            yield address, answer
        finally:
            del self._asked[address]

    def stats(self, address: str) -> AddressStats:
        """Zeros for an address that nobody has used."""
        return self._topics[address].stats() if address in self._topics else Topic(self, address).stats()

    def bury(self, delivery: Delivery, group: str, reason: str) -> None:
        """Set a message aside that a native subscriber cannot handle."""
        _logger.error("%s buried a message of %s: %s", group, delivery.partition.address, reason)
        self.dead.append(DeadLetter(delivery=delivery, group=group, reason=reason))

    def call_at(self, due_at: datetime, action: Callable[[], None]) -> None:
        """Do something at an instant, as long as a bus is open; in order of instants."""
        self._scheduled += 1
        heappush(self._later, (due_at, self._scheduled, action))
        if self._later[0][1] == self._scheduled:
            for timer in self._timers:
                timer.set()

    def call_later(self, after_s: float, action: Callable[[], None]) -> None:
        self.call_at(self.clock.now() + timedelta(seconds=after_s), action)

    async def keep_time(self) -> None:
        """Do what is due, for ever; each open broker runs one, any one is enough."""
        changed = asyncio.Event()
        self._timers.append(changed)
        try:
            while True:
                changed.clear()
                nap_s = self._do_what_is_due()
                try:
                    async with self.clock.timeout(nap_s):
                        await changed.wait()
                except TimeoutError:
                    continue
        finally:
            self._timers.remove(changed)

    def _answer(self, envelope: Envelope) -> None:
        asked = self._asked.get(envelope.address)
        if asked is None or asked.done():
            _logger.info("an answer to %s is dropped: nobody waits for it any more", envelope.address)
        else:
            asked.set_result(envelope)

    def _do_what_is_due(self) -> float:
        now = self.clock.now()
        while self._later and self._later[0][0] <= now:
            heappop(self._later)[2]()
        return min((self._later[0][0] - now).total_seconds(), LONGEST_NAP_S) if self._later else LONGEST_NAP_S

    def _topic(self, address: str) -> Topic:
        topic = self._topics.get(address)
        if topic is None:
            topic = self._topics[address] = Topic(self, address)
        return topic


def _size_bytes(envelope: Envelope) -> int:
    size_bytes = len(envelope.body) + OVERHEAD_BYTES
    for name, value in envelope.headers.items():
        size_bytes += len(name) + len(value)
    return size_bytes
