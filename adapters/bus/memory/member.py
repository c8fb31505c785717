"""One consumer in a group: the partitions that it leases, from `assigned` to `revoked`."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from adapters.bus.memory.group import Group
from adapters.bus.memory.partition import Cursor
from adapters.bus.owned import OwnedTasks
from contracts.errors import LeaseLost
from contracts.message import Delivery, Partition

if TYPE_CHECKING:
    from adapters.bus.memory.topic import Topic

_logger = logging.getLogger("millrace.bus")

FIRST_RETRY_S = 0.1
LAST_RETRY_S = 5.0


class Holder(Protocol):
    """What a member does with its partitions: the runtime's consumer, or a native subscriber."""

    async def assigned(self, lease: Lease, /) -> int | None: ...

    async def revoked(self, lease: Lease, /) -> None: ...


class Lease:
    """One partition while one member owns it; implements the `Assignment` port.

    Fetching begins when the member's `assigned` returned and ends when its `revoked` begins; committing is possible
    until `revoked` returned or its deadline passed. A lease that is over refuses everything with `LeaseLost`.
    """

    __slots__ = (
        "_cursor",
        "_group",
        "_topic",
        "epoch",
        "fetching",
        "index",
        "member",
        "over",
        "partition",
        "queued",
        "reasons",
    )

    def __init__(self, topic: Topic, group: Group, index: int, member: Member) -> None:
        self._topic = topic
        self._group = group
        self._cursor: Cursor = group.cursors[index]
        self.index = index
        self.member = member
        self.partition: Partition = self._cursor.records.partition
        group.epochs[index] += 1
        self.epoch = group.epochs[index]
        self.reasons: set[str] = set()
        self.fetching = False
        self.over = False
        self.queued = False

    @property
    def incarnation(self) -> str:
        return self._topic.incarnation

    @property
    def lag(self) -> int:
        return self._cursor.lag

    def pause(self, reason: str) -> None:
        self.reasons.add(reason)

    def resume(self, reason: str) -> None:
        self.reasons.discard(reason)
        self.signal()

    async def commit(self, position: int) -> None:
        self._owned("commit")
        self._cursor.commit(position)
        self._topic.trim(self.index)

    async def release(self, positions: Sequence[int]) -> None:
        self._owned("release")
        self._cursor.hand_back(positions)
        self.signal()

    def seek(self, position: int) -> None:
        """Fetch from `position` on instead of the committed one."""
        self._cursor.seek(position)

    def take(self, max_rows: int, max_bytes: int) -> list[Delivery]:
        """The next fetch; empty while paused, before `assigned` returned and once `revoked` began."""
        if not self.fetching or self.reasons:
            return []
        return self._cursor.take(max_rows, max_bytes)

    def untake(self, position: int) -> None:
        """It was taken and nobody saw it: it comes again as if it had not been."""
        if not self.over:
            self._cursor.untake(position)
            self.signal()

    def finish(self, position: int) -> None:
        """This message alone is finished; those below it need not be."""
        self._owned("acknowledge")
        self._cursor.finish(position)
        self._topic.trim(self.index)

    def hold(self, position: int, after_s: float) -> None:
        """Deliver this message again in `after_s`."""
        self._owned("hand back")
        if self._cursor.hold(position):
            self._topic.log.call_later(after_s, lambda: self._unhold(position))

    def signal(self) -> None:
        """There may be something to fetch: the member is woken, once."""
        if not self.queued and self.fetching and not self.reasons and self._cursor.ready:
            self.queued = True
            self.member.ready.append(self)
            self.member.wake.set()

    def end(self) -> None:
        """The lease is over, now: what was not finished comes again to the next owner. Idempotent."""
        if self.over:
            return
        self.over = True
        self.fetching = False
        self._topic.owners[self._group.name][self.index] = None
        self._cursor.rewind()
        self._topic.trim(self.index)
        self.member.leases.pop(self.index, None)
        self._group.given_up(self.index)

    def _unhold(self, position: int) -> None:
        if not self.over and self._cursor.is_held(position):
            self._cursor.hand_back((position,))
            self.signal()

    def _owned(self, wish: str) -> None:
        if self.over:
            raise LeaseLost(
                f"cannot {wish}: {self.partition.address} partition {self.partition.index} was revoked from this "
                f"assignment (epoch {self.epoch}); its unfinished messages are delivered to the next owner"
            )

    def __repr__(self) -> str:
        return (
            f"<Lease {self.partition.address}/{self.partition.index} epoch {self.epoch}{' over' if self.over else ''}>"
        )


class Member:
    """Keeps a consumer's leases equal to what its group decided.

    `revoked` is awaited for `revoke_wait_s` at most; then the lease ends all the same. `assigned` that fails is tried
    again with a growing pause; until it succeeds nothing of that partition is fetched.
    """

    def __init__(self, topic: Topic, group: Group, holder: Holder, *, revoke_wait_s: float) -> None:
        self.leases: dict[int, Lease] = {}
        self.ready: deque[Lease] = deque()
        self.wake = asyncio.Event()
        self.draining = False
        self.faults: dict[int, str] = {}
        """By partition: why `assigned` failed the last time."""
        self._topic = topic
        self._group = group
        self._holder = holder
        self._revoke_wait_s = revoke_wait_s
        self._tasks = OwnedTasks(f"{group.name} of {topic.address}")
        self._opening: dict[int, asyncio.Task[None]] = {}
        self._lost: list[Lease] = []  # while frozen, and not known to the holder yet

    def next_ready(self) -> Lease | None:
        """The next lease to fetch from, in turn; none once draining."""
        if self.draining or not self.ready:
            return None
        lease = self.ready.popleft()
        lease.queued = False
        return lease

    def drain(self) -> None:
        """Fetch nothing more; keep what is leased. Idempotent."""
        self.draining = True

    async def leave(self) -> None:
        """Give everything up, awaiting `revoked` of each with the deadline; idempotent."""
        try:
            self.drain()
            self._group.leave(self)
            self._tell_what_is_lost()
            await self._tasks.finished()
        finally:
            self.evict()
            await self._tasks.close()

    def evict(self) -> None:
        """Put the member out of its group at once, without asking it: for one that doesn't answer any more."""
        self.drain()
        self._tasks.cancel()
        leases = list(self.leases.values())
        for lease in leases:
            lease.fetching = False  # so that leaving does not ask for it back
        self._group.leave(self)
        for lease in leases:
            lease.end()

    def freeze(self) -> None:
        """Stand still for so long that the group takes the member for dead: its leases are over, and others get them.
        The holder isn't told before `thaw`, as in a process that was stopped."""
        leases = list(self.leases.values())
        self._lost += [lease for lease in leases if lease.fetching]  # the others are told already, or not assigned yet
        for opening in self._opening.values():
            opening.cancel()
        self._opening.clear()
        for lease in leases:
            lease.fetching = False
        self._group.leave(self)
        for lease in leases:
            lease.end()

    async def thaw(self) -> None:
        """Learn what was lost, and take part again."""
        for told in self._tell_what_is_lost():
            await asyncio.wait([told])
        if not self.draining:
            self._group.join(self)

    def reconcile(self) -> None:
        """Begin to give up what is not to be ours, and to take what is and is free."""
        for index, opening in list(self._opening.items()):
            if self._group.owner_to_be(index) is not self:
                del self._opening[index]
                opening.cancel()
        for index, lease in list(self.leases.items()):
            if lease.fetching and self._group.owner_to_be(index) is not self:
                lease.fetching = False
                self._tasks.start(self._give_up(lease), f"revoke partition {index}")
        owners = self._topic.owners[self._group.name]
        for index in range(len(owners)):
            if owners[index] is None and self._group.owner_to_be(index) is self and index not in self._opening:
                self._opening[index] = self._tasks.start(self._take_over(index), f"assign partition {index}")

    async def _take_over(self, index: int) -> None:
        retry_s = FIRST_RETRY_S
        try:
            while not await self._assigned(index):
                await self._topic.log.clock.sleep(retry_s)
                retry_s = min(retry_s * 2, LAST_RETRY_S)
        finally:
            self.faults.pop(index, None)  # it is ours without a fault, or another's
            if self._opening.get(index) is asyncio.current_task():
                del self._opening[index]
            self.reconcile()

    async def _assigned(self, index: int) -> bool:
        lease = Lease(self._topic, self._group, index, self)
        self.leases[index] = lease
        self._topic.owners[self._group.name][index] = lease
        told = ours = False
        try:
            position = await self._holder.assigned(lease)
            told = True
            if position is not None:
                lease.seek(position)
            ours = True
        except Exception as error:
            self.faults[index] = f"{type(error).__name__}: {error}"
            _logger.exception("%r was not taken: its consumer failed; it is tried again", lease)
        finally:
            if told and not ours:  # where its holder wants to begin is no place: it has to let go again
                await self._give_up(lease)
            elif not ours:
                lease.end()
        lease.fetching = ours
        lease.signal()
        return ours

    def _tell_what_is_lost(self) -> list[asyncio.Task[None]]:
        lost, self._lost = self._lost, []
        return [self._tasks.start(self._give_up(lease), f"tell of lost partition {lease.index}") for lease in lost]

    async def _give_up(self, lease: Lease) -> None:
        try:
            async with self._topic.log.clock.timeout(self._revoke_wait_s):
                await self._holder.revoked(lease)
        except TimeoutError:
            _logger.warning("%r ends: its consumer did not let go within %g s", lease, self._revoke_wait_s)
        except Exception:
            _logger.exception("%r ends: its consumer failed to let go", lease)
        finally:
            lease.end()
