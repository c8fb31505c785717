"""One partition while this process owns it, from `assigned` to `revoked`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any, cast

import msgspec

from adapters.bus.redis_stream import keys
from adapters.bus.redis_stream.delivery import delivery_of
from adapters.bus.redis_stream.link import checked, is_gone
from adapters.bus.redis_stream.outstanding import Outstanding
from adapters.bus.redis_stream.ready import Ready
from contracts.errors import LeaseLost
from contracts.message import Delivery, Partition

if TYPE_CHECKING:
    from adapters.bus.redis_stream.member import Member

TRIM_EVERY_S = 1.0
FIRST_ROWS = 32
"""How many entries are read before it is known what one weighs; from then on at most so many times more each time:"""
ROWS_FACTOR = 8


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
    """Implements the `Assignment` port.

    `over` and `lost` are what we know. What we don't know yet is found by the scripts, which look at the token in Redis
    before they do anything, and by the server when it reads for us.
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
        """`revoked` returned."""
        self.lost = False
        """Redis said that it is not ours."""
        self.last_id = last_id
        """What lies above it was not delivered to the group yet."""
        self.news = True
        """There may be something above it."""
        self.recovering: str | None = "pending"
        """What comes again first: what is `pending`, or `all` that is still there; None when all of it has."""
        self.recover_after = "0-0"
        self.recover_to = last_id.decode()
        self.ready = Ready()
        self._out = Outstanding()
        self._begin_at = 0
        self._passed_over = False  # below `_begin_at` there may be something that is not acknowledged
        self._rows = FIRST_ROWS
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
        await self._acknowledge(self._out.below(position), position, trim=self._trim_due())
        self._out.finish_below(position)

    async def release(self, positions: Sequence[int]) -> None:
        self._owned("release")
        self._out.hand_back(positions)
        self.member.wake_reader()

    # --- for the member

    def begin(self, position: int | None) -> None:
        """Fetch from `position` on; None: from where the group stands. What lies below is passed over, not finished: a
        commit says that."""
        if position is None:
            return
        self._begin_at = position
        self._passed_over = True
        self.recover_after = keys.id_before(position)
        if position <= keys.position_of(self.last_id):
            self.recovering = "all"  # what is acknowledged above it comes again too

    async def finish(self, position: int) -> None:
        """This message alone is finished, whatever is below it."""
        if (entry_id := self._out.id_of(position)) is not None:
            await self._acknowledge([entry_id], 0, trim=False)
            self._out.finish(position)

    def hand_back(self, delivery: Delivery) -> None:
        """It was about to be handed over, and nobody saw it: it is the next one, as if it had not been."""
        self.ready.add_first([delivery], delivery.size_bytes)
        self.member.wake_reader()

    @property
    def unseen(self) -> list[bytes]:
        """The ids of what was delivered to us and not handed over."""
        return [found for each in self.ready if (found := self._out.id_of(each.position)) is not None]

    def end(self) -> None:
        """Over, now, as far as we are concerned. Idempotent."""
        self.over = True
        self.fetching = False
        self.ready.clear()
        self._out.clear()

    # --- for the reader

    @property
    def open(self) -> bool:
        """Whether something may be handed over now."""
        return self.fetching and not self.reasons

    @property
    def has_more(self) -> bool:
        """Whether there may be something to hand over, without a wait."""
        return bool(self.news or self.ready or self.recovering or self._out.waits)

    @property
    def rows(self) -> int:
        """How many entries to ask for: when they weigh what the last ones did, what one fetch may carry."""
        return self._rows

    def take_back(self) -> list[bytes]:
        """The ids of the first of what was handed back."""
        taken = self._out.take_back(self._rows)
        return [found for position in taken if (found := self._out.id_of(position)) is not None]

    def not_taken_back(self, ids: Sequence[bytes]) -> None:
        """The server did not say whether they were claimed: they are asked for again."""
        self._out.hand_back(map(keys.position_of, ids))

    def came(self, entries: Sequence[Any], asked: int) -> None:
        """New entries, of so many that were asked for."""
        if entries:
            self.last_id = entries[-1][0]
            self.ready.add(*self._deliveries(entries, None))
        self.news = len(entries) >= asked

    def came_again(self, entries: Sequence[Any], counts: Sequence[int]) -> None:
        """What was delivered before goes before what follows it."""
        self.ready.add_first(*self._deliveries(entries, counts))

    def recovered(self, after: bytes) -> None:
        """Go on after this id; empty: nothing is left."""
        if not after:
            self.recovering = None
            return
        self.recover_after = after.decode()
        self._read_to(after)

    def read_again(self) -> None:
        """What the last read brought is not known: whatever is pending above what we saw comes again."""
        if self.recovering is None:
            self.recovering, self.recover_after, self.recover_to = "pending", self.last_id.decode(), "+"

    def next_fetch(self, *, max_rows: int | None = None) -> list[Delivery]:
        """What is handed over together."""
        limits = self.member.limits
        return self.ready.take(max_rows or limits.max_rows, limits.max_bytes)

    # --- its own

    @property
    def _recovered_to(self) -> int:
        return keys.position_of(self.recover_after.encode())

    def _read_to(self, entry_id: bytes) -> None:
        if keys.position_of(entry_id) > keys.position_of(self.last_id):
            self.last_id = entry_id

    def _deliveries(self, entries: Sequence[Any], counts: Sequence[int] | None) -> tuple[list[Delivery], int]:
        """Entries in order as deliveries, which are out from now on, and what they weigh."""
        stream, partition, begin_at = self.place.stream, self.partition, self._begin_at
        ids = [entry_id for entry_id, _ in entries]
        positions = keys.positions_of(ids)
        self._out.add(positions, ids)
        deliveries: list[Delivery] = [
            cast("Delivery", delivery_of(entry_id, flat, stream, partition, position, times))
            for (entry_id, flat), position, times in zip(entries, positions, counts or repeat(1), strict=False)
            if position >= begin_at
        ]
        size_bytes = sum([delivery.size_bytes for delivery in deliveries])
        if deliveries:
            limits = self.member.limits
            fitting = limits.max_bytes * len(deliveries) // max(size_bytes, 1)
            self._rows = max(1, min(limits.max_rows, fitting, self._rows * ROWS_FACTOR))
        return deliveries, size_bytes

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

    async def _asked(self, name: str, *arguments: str | bytes | int) -> Any:
        """The reply of a script that looks at the token first."""
        place = self.place
        [reply] = await self.member.commits.scripts(
            [(name, (place.token_key, place.stream), (place.group, self.token, *arguments))]
        )
        if is_gone(reply) or (isinstance(reply, list) and reply[0] == 0):
            self.lost = True
            self.member.wake()
            raise self.refusal("commit")
        return checked(reply)

    def _trim_due(self) -> bool:
        now = self.member.clock.monotonic()
        if now - self._trimmed_at < TRIM_EVERY_S:
            return False
        self._trimmed_at = now
        return True

    def _owned(self, wish: str) -> None:
        if self.over or self.lost:
            raise self.refusal(wish)

    def refusal(self, wish: str) -> LeaseLost:
        """The error that says so."""
        return LeaseLost(
            f"cannot {wish}: {self.partition.address} partition {self.partition.index} is not this assignment's "
            f"any more (epoch {self.epoch}); its unfinished messages are delivered to the next owner"
        )

    def __repr__(self) -> str:
        return (
            f"<Lease {self.partition.address}/{self.partition.index} of {self.place.group} epoch {self.epoch}"
            f"{' over' if self.over else ' lost' if self.lost else ''}>"
        )
