"""One partition while this process owns it, from `assigned` to `revoked`."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

import msgspec

from adapters.bus.redis_stream import keys
from adapters.bus.redis_stream.entry import envelope_of
from adapters.bus.redis_stream.link import is_gone
from contracts.errors import LeaseLost, Unavailable
from contracts.message import Delivery, Partition

if TYPE_CHECKING:
    from adapters.bus.redis_stream.member import Member

TRIM_EVERY_S = 1.0
ROUGH_BYTES = 16 * 1024
"""What an entry is taken to weigh before the first one was seen."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A partition of a group and its keys."""

    partition: Partition
    group: str
    stream: str
    lease_key: str
    token_key: str
    made_key: str


def place_of(address: str, index: int, partitions: int, group: str) -> Place:
    """The keys of one of the `partitions`, or (index `partitions`) of the bare address."""
    stream = keys.stream_of(address, index, partitions)
    return Place(
        partition=Partition(address, index),
        group=group,
        stream=stream,
        lease_key=keys.lease(stream, group),
        token_key=keys.token(stream, group),
        made_key=keys.made(stream),
    )


class Lease:
    """Implements the `Assignment` port. What is out (handed over, not committed) is remembered by its entry id.

    `over` is our own knowledge; that a lease was lost without our knowledge is found by the scripts, which look at the
    token in Redis before they do anything.
    """

    def __init__(self, member: Member, place: Place, *, epoch: int, incarnation: str, last_id: bytes, lag: int) -> None:
        self.member = member
        self.place = place
        self.partition = place.partition
        self.epoch = epoch
        self.incarnation = incarnation
        self.lag = lag
        self.token = f"{member.id}:{epoch}"
        self.reasons: set[str] = set()
        self.fetching = False
        """`assigned` returned, and nobody asked for the partition since."""
        self.over = False
        self.lost = False
        """Redis said that it is not ours."""
        self.last_id = last_id
        """What lies above it was not delivered to the group yet."""
        self.recovering: str | None = "pending"
        """How what former owners left comes again, until it all has."""
        self.recover_after = "0-0"
        self.recover_to = last_id.decode()
        self.news = True
        """There may be something above `last_id`."""
        self.ready: deque[Delivery] = deque()
        """Read, and not handed over yet."""
        self.again: list[int] = []  # a heap of what was handed back
        self._back: set[int] = set()
        self._begin_at = 0
        self._passed_over = False  # below `_begin_at` there may be something that is not acknowledged
        self._out: list[int] = []  # positions, in order, and their ids
        self._ids: list[bytes] = []
        self._entry_bytes = ROUGH_BYTES
        self._trimmed_at = member.clock.monotonic()

    # --- the port

    def pause(self, reason: str) -> None:
        self.reasons.add(reason)

    def resume(self, reason: str) -> None:
        self.reasons.discard(reason)
        if not self.reasons:
            self.member.wake_reader()

    async def commit(self, position: int) -> None:
        self._owned("commit")
        if self._passed_over or (self.recovering is not None and position > self._recovered_to):
            await self._skip(position)
        count = bisect_left(self._out, position)
        await self._acknowledge(self._ids[:count], position, trim=self._trim_due())
        count = bisect_left(self._out, position)
        del self._out[:count], self._ids[:count]
        if self._back:
            self._back = {each for each in self._back if each >= position}

    async def release(self, positions: Sequence[int]) -> None:
        self._owned("release")
        for position in positions:
            if position not in self._back and self._is_out(position):
                self._back.add(position)
                heappush(self.again, position)
        self.member.wake_reader()

    # --- for the member

    def begin(self, position: int | None) -> None:
        """Fetch from `position` on; None: from where the group stands. What lies below is passed over, not finished:
        a commit says that."""
        if position is None:
            return
        self._begin_at = position
        self._passed_over = True
        self.recover_after = keys.id_before(position)
        if position <= keys.position_of(self.last_id):
            self.recovering = "all"  # what is acknowledged above it comes again too

    async def finish(self, position: int) -> None:
        """This message alone is finished, whatever is below it."""
        at = bisect_left(self._out, position)
        if at < len(self._out) and self._out[at] == position:
            await self._acknowledge([self._ids[at]], 0, trim=False)
            at = bisect_left(self._out, position)
            del self._out[at], self._ids[at]

    def hand_back(self, delivery: Delivery) -> None:
        """It was about to be handed over, and nobody saw it: it is the next one, as if it had not been."""
        self.ready.appendleft(delivery)
        self.member.wake_reader()

    @property
    def unseen(self) -> list[bytes]:
        return [self._ids[at] for at in (bisect_left(self._out, each.position) for each in self.ready)]

    def end(self) -> None:
        """Over, now, as far as we are concerned. Idempotent."""
        self.over = True
        self.fetching = False
        self.ready.clear()
        self.again.clear()
        self._out.clear()
        self._ids.clear()
        self._back.clear()

    # --- for the reader

    @property
    def open(self) -> bool:
        """Whether something may be handed over now."""
        return self.fetching and not self.reasons

    @property
    def has_more(self) -> bool:
        """Whether there may be something to hand over, without a wait."""
        return bool(self.news or self.ready or self.again or self.recovering)

    @property
    def rows(self) -> int:
        """How many entries to ask for, so that they weigh about what one fetch may."""
        limits = self.member.limits
        return max(1, min(limits.max_rows, limits.max_bytes // self._entry_bytes))

    def take_back(self) -> list[bytes]:
        """The ids of what was handed back and is still out, in order, as many as a fetch may have."""
        ids: list[bytes] = []
        while self.again and len(ids) < self.rows:
            position = heappop(self.again)
            if position in self._back:
                self._back.discard(position)
                ids.append(self._ids[bisect_left(self._out, position)])
        return ids

    def arrived(self, entries: Sequence[Any], counts: Sequence[int] = ()) -> list[Delivery]:
        """Entries that were read, in order, as deliveries."""
        address, stream, partition = self.partition.address, self.place.stream, self.partition
        size_bytes = 0
        out, ids, deliveries = self._out, self._ids, []
        last = out[-1] if out else -1
        for at, (entry_id, flat) in enumerate(entries):
            position = keys.position_of(entry_id)
            if position > last:
                out.append(position)
                ids.append(entry_id)
                last = position
            elif (place := bisect_left(out, position)) == len(out) or out[place] != position:
                out.insert(place, position)
                ids.insert(place, entry_id)
            if position < self._begin_at:
                continue
            envelope = envelope_of(address, stream, entry_id, flat or [])
            size_bytes += len(envelope.body)
            deliveries.append(Delivery(envelope, partition, position, counts[at] if counts else 1))
        if deliveries:
            self._entry_bytes = max(size_bytes // len(deliveries), 1)
        return deliveries

    def not_taken_back(self, ids: Sequence[bytes]) -> None:
        """The server did not say whether they were claimed: they are asked for again."""
        for position in map(keys.position_of, ids):
            if self._is_out(position) and position not in self._back:
                self._back.add(position)
                heappush(self.again, position)

    def read_again(self) -> None:
        """What the last read brought is not known: whatever is pending above what we saw comes again."""
        if self.recovering is None:
            self.recovering, self.recover_after, self.recover_to = "pending", self.last_id.decode(), "+"

    def recovered(self, after: bytes) -> None:
        """Go on after this id; empty: nothing is left."""
        if not after:
            self.recovering = None
            return
        self.recover_after = after.decode()
        self._read_to(after)

    def read(self, entries: Sequence[Any], asked: int) -> None:
        """New entries, of so many that were asked for."""
        if entries:
            self.last_id = entries[-1][0]
            self.ready += self.arrived(entries)
        self.news = len(entries) >= asked

    def came_again(self, entries: Sequence[Any], counts: Sequence[int]) -> None:
        """What was handed back goes before what follows it."""
        self.ready.extendleft(reversed(self.arrived(entries, counts)))

    def next_fetch(self) -> list[Delivery]:
        """What is handed over together: within the limits, in order of position."""
        limits = self.member.limits
        fetch: list[Delivery] = []
        size_bytes = 0
        while self.ready and len(fetch) < limits.max_rows:
            delivery = self.ready[0]
            size_bytes += len(delivery.envelope.body)
            if fetch and (size_bytes > limits.max_bytes or delivery.position <= fetch[-1].position):
                break
            fetch.append(self.ready.popleft())
        return fetch

    # --- its own

    @property
    def _recovered_to(self) -> int:
        return keys.position_of(self.recover_after.encode())

    async def _skip(self, position: int) -> None:
        """Finish what is below it and did not come, or did not come again yet."""
        upto = keys.id_before(position)
        reply = await self._asked("skip", upto)
        if self._passed_over and position >= self._begin_at:
            self._passed_over = False
        if position > self._recovered_to:
            self.recover_after = upto
        self._read_to(reply[1])

    async def _acknowledge(self, ids: Sequence[bytes], position: int, *, trim: bool) -> None:
        oldest, kept = self.member.kept_from()
        reply = await self._asked("commit", "1" if trim else "0", oldest, kept, keys.id_of(position), *ids)
        self.lag = int(reply[1])

    def _read_to(self, entry_id: bytes) -> None:
        if keys.position_of(entry_id) > keys.position_of(self.last_id):
            self.last_id = entry_id

    async def _asked(self, name: str, *arguments: str | bytes | int) -> Any:
        """The reply of a script that looks at the token first."""
        place = self.place
        [reply] = await self.member.link.scripts(
            [(name, (place.token_key, place.stream), (place.group, self.token, *arguments))]
        )
        if is_gone(reply) or (isinstance(reply, list) and reply[0] == 0):
            self.lost = True
            self.member.wake()
            raise self.refusal("commit")
        if isinstance(reply, Exception):
            raise Unavailable("Redis", str(reply))
        return reply

    def _trim_due(self) -> bool:
        now = self.member.clock.monotonic()
        if now - self._trimmed_at < TRIM_EVERY_S:
            return False
        self._trimmed_at = now
        return True

    def _is_out(self, position: int) -> bool:
        at = bisect_left(self._out, position)
        return at < len(self._out) and self._out[at] == position

    def _owned(self, wish: str) -> None:
        if self.over or self.lost:
            raise self.refusal(wish)

    def refusal(self, wish: str) -> LeaseLost:
        return LeaseLost(
            f"cannot {wish}: {self.partition.address} partition {self.partition.index} is not this assignment's "
            f"any more (epoch {self.epoch}); its unfinished messages are delivered to the next owner"
        )

    def __repr__(self) -> str:
        return (
            f"<Lease {self.partition.address}/{self.partition.index} of {self.place.group} epoch {self.epoch}"
            f"{' over' if self.over else ' lost' if self.lost else ''}>"
        )
