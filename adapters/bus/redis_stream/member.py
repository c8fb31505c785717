"""One consumer in a group: which partitions it leases, and that it lives."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Protocol

import msgspec

from adapters.bus.expired import decided
from adapters.bus.owned import OwnedTasks
from adapters.bus.redis_stream import keys
from adapters.bus.redis_stream.lease import Lease, Place, place_of
from adapters.bus.redis_stream.link import Link, checked
from adapters.bus.redis_stream.share import share_of
from contracts.errors import Conflict, MillraceError
from contracts.ports.bus import Consumer
from contracts.ports.clock import Clock

_logger = logging.getLogger("millrace.bus")

FIRST_RETRY_S = 0.1
LAST_RETRY_S = 5.0
BEATS_A_LEASE = 3
GRACE_S = 0.005
"""After the instant at which another's lease is said to end."""


class FetchLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much one `fetched` gets at most (one message is handed over whatever its size)."""

    max_rows: int = 1_000
    max_bytes: int = 4 * 1024 * 1024


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What all members of a process have in common."""

    limits: FetchLimits
    lease_s: float
    revoke_wait_s: float
    keep_finished: int


class Reader(Protocol):
    """Who fetches for the member."""

    def wake(self) -> None: ...


class Member:
    """Keeps its leases equal to its share of the partitions.

    A third of the lease is the longest time between two beats: a beat says that the member lives, renews its leases,
    looks at those of others, and begins what follows from that. It waits for nothing but Redis; taking a partition and
    giving one up are tasks of their own.
    """

    def __init__(
        self,
        consumer: Consumer,
        *,
        member_id: str,
        group: str,
        partitions: int,
        retention_s: float,
        ledger: str,
        commits: Link,
        clock: Clock,
        terms: Terms,
    ) -> None:
        address = consumer.route.address
        self.id = member_id
        self.address = address
        self.group = group
        self.commits = commits
        self.clock = clock
        self.limits = terms.limits
        self.draining = False
        self.fault = ""
        """Why the last beat failed."""
        self.faults: dict[int, str] = {}
        """By partition: why it is not fetched from."""
        self.reader: Reader | None = None
        self.leases: dict[int, Lease] = {}
        self._consumer = consumer
        self._terms = terms
        self._retention = timedelta(seconds=retention_s)
        self._lease_ms = int(terms.lease_s * 1000)
        self._places: list[Place] = [place_of(address, index, partitions, group) for index in range(partitions + 1)]
        self.news_key = keys.news(address, group)
        self._beat_keys = (
            keys.members(address, group),
            self.news_key,
            keys.about(address),
            keys.group_about(address, group),
        )
        self._remembered: tuple[str | int, ...] = (partitions, ledger)
        self._tasks = OwnedTasks(f"{group} of {address}")
        self._taking: dict[int, asyncio.Task[None]] = {}
        self._giving_up: dict[int, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._joined = False
        self._silent = False
        """Redis did not answer when a partition was given back: no use to wait for it once more."""
        self._leaving = False

    # --- its life

    async def join(self, control: Link) -> None:
        """Become a member and begin to take partitions. Raises `Unavailable`."""
        self._control = control
        self._joined = True
        await self._beat()
        self._tasks.start(self._live(), "beat")

    def wake(self) -> None:
        """Something changed: look now."""
        self._wake.set()

    def wake_reader(self) -> None:
        if self.reader is not None:
            self.reader.wake()

    def drain(self) -> None:
        """Fetch nothing more, keep what is leased, take nothing more. Idempotent."""
        if not self.draining:
            self.draining = True
            self.wake()
            self.wake_reader()

    async def leave(self) -> None:
        """Give everything up, awaiting `revoked` of each with its deadline. Idempotent."""
        self.drain()
        self._leaving = True
        try:
            for lease in list(self.leases.values()):
                self._begin_to_give_up(lease)
            while ending := {*self._taking.values(), *self._giving_up.values()}:
                await asyncio.wait(ending)
            if self._joined and not self._silent:
                await self._say_goodbye()
        finally:
            self.evict()
            await self._tasks.close()

    def evict(self) -> None:
        """Over at once, and nobody is told: the leases run out."""
        self.draining = True
        self._tasks.cancel()
        for lease in self.leases.values():
            lease.end()
        self.leases.clear()

    # --- for its leases

    def kept_from(self) -> tuple[str, int]:
        """Below which id what is finished is too old to keep, and how many of the others are kept."""
        oldest_ms = int((self.clock.now() - self._retention).timestamp() * 1000)
        return f"{max(oldest_ms, 0)}-0", self._terms.keep_finished

    # --- beats

    async def _live(self) -> None:
        wait_s = self._terms.lease_s / BEATS_A_LEASE
        retry_s = FIRST_RETRY_S
        while True:
            try:
                async with self.clock.timeout(wait_s):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                wait_s = await self._beat()
                retry_s = FIRST_RETRY_S
            except MillraceError as error:
                if not self.fault:
                    _logger.warning("%s of %s cannot renew its leases: %s", self.group, self.address, error)
                self.fault = str(error)
                wait_s = retry_s
                retry_s = min(retry_s * 2, self._terms.lease_s / BEATS_A_LEASE)

    async def _beat(self) -> float:
        """Returns how long to wait for the next one."""
        lease_ms = self._lease_ms
        places, held = self._places, dict(self.leases)
        wanted: list[tuple[str, Sequence[str], Sequence[str | int]]] = [
            ("beat", self._beat_keys, (self.id, 0 if self.draining else lease_ms, *self._remembered))
        ]
        for index, place in enumerate(places):
            token = held[index].token if index in held else ""
            wanted.append(("renew", (place.lease_key, place.token_key, place.stream), (place.group, token, lease_ms)))
        living, *states = [checked(reply) for reply in await self._control.scripts(wanted)]
        if self.fault:
            _logger.info("%s of %s renews its leases again", self.group, self.address)
            self.fault = ""
        owners: dict[int, str] = {}
        ends_s = self._terms.lease_s / BEATS_A_LEASE
        for index, state in enumerate(states):
            lease = held.get(index)
            if state[0] == 1 and lease is not None:
                lease.lag = int(state[1])
                owners[index] = self.id
            elif lease is not None:
                lease.lost = True
            elif (owner := state[1].decode()) and owner != self.id:
                owners[index] = owner
                ends_s = min(ends_s, state[2] / 1000 + GRACE_S)
        self._reconcile([member.decode() for member in living], owners)
        return ends_s

    def _reconcile(self, living: Sequence[str], owners: dict[int, str]) -> None:
        """Whoever drains, or is silent, keeps what it has; the rest is spread over those who live."""
        for lease in list(self.leases.values()):
            if lease.lost:
                self._begin_to_give_up(lease)
        if self.draining:
            return
        targets = share_of(self.id, sorted(living), owners, len(self._places) - 1)
        self.faults = {index: why for index, why in self.faults.items() if index in targets}  # the rest is others'
        for index, lease in list(self.leases.items()):
            if index not in targets:
                self._begin_to_give_up(lease)
        for index in targets:
            if index not in self.leases and index not in self._taking and index not in owners:
                self._taking[index] = self._tasks.start(self._take(index), f"take partition {index}")

    # --- taking

    async def _take(self, index: int) -> None:
        lease: Lease | None = None
        assigned = False
        try:
            lease = await self._lease(index)
            if lease is not None and not self._leaving:
                position = await self._until_assigned(lease)
                assigned = True
                lease.begin(await self._starting_point(lease, position))
                lease.fetching = True
                self.faults.pop(index, None)
                self.wake_reader()
        except MillraceError as error:
            self.faults[index] = str(error)
        finally:
            del self._taking[index]
            if lease is not None and not lease.fetching and not lease.over:
                self._begin_to_give_up(lease, asked=assigned)
            self.wake()

    async def _lease(self, index: int) -> Lease | None:
        place = self._places[index]
        reply = await self._control.script(
            "take",
            (place.lease_key, place.token_key, place.made_key, place.stream),
            place.group,
            self.id,
            self._lease_ms,
            self.clock.new_id(),
        )
        if reply[0] == 0:
            return None  # somebody was quicker
        epoch, incarnation, last_id, lag = reply
        lease = Lease(self, place, epoch=int(epoch), incarnation=incarnation.decode(), last_id=last_id, lag=int(lag))
        self.leases[index] = lease
        return lease

    async def _until_assigned(self, lease: Lease) -> int | None:
        """Until the consumer takes it; meanwhile the lease is renewed like every other."""
        index = lease.partition.index
        retry_s = FIRST_RETRY_S
        while True:
            try:
                return await self._consumer.assigned(lease)
            except Exception as error:
                self.faults[index] = f"{type(error).__name__}: {error}"
                _logger.exception("%r is not fetched from: its consumer failed; it is tried again", lease)
            await self.clock.sleep(retry_s)
            retry_s = min(retry_s * 2, LAST_RETRY_S)

    async def _starting_point(self, lease: Lease, position: int | None) -> int | None:
        """Where to begin when the owner wants `position`. Raises `Conflict` where something else has deleted messages,
        and the route has not decided to pass that over."""
        if not position:
            return position
        reply = await self._control.script("reach", (lease.place.stream,), keys.id_of(position))
        if reply[0] == 1:
            return position
        gone = (
            f"{lease.place.stream}: messages from {keys.id_of(position)} on may have been deleted by something else "
            "(XTRIM, XDEL, XADD with MAXLEN) before they were handled"
        )
        try:
            chosen = decided(gone, self._consumer.route, stored=True)
        except Conflict as error:
            index = lease.partition.index
            if self.faults.get(index) != str(error):
                _logger.error(str(error))
            self.faults[index] = str(error)
            await self.clock.sleep(LAST_RETRY_S)  # then it is taken anew: somebody may have reset the position
            raise
        return keys.position_of(reply[1]) + 1 if chosen == "latest" else position

    # --- giving up

    def _begin_to_give_up(self, lease: Lease, *, asked: bool = True) -> None:
        index = lease.partition.index
        lease.fetching = False
        if index in self._giving_up:
            return
        if taking := self._taking.get(index):
            taking.cancel()  # it gives the lease up itself
            return
        self._giving_up[index] = self._tasks.start(self._give_up(lease, asked), f"revoke partition {index}")

    async def _give_up(self, lease: Lease, asked: bool) -> None:
        index = lease.partition.index
        wait_s = self._terms.revoke_wait_s
        try:
            try:
                if asked:
                    async with self.clock.timeout(wait_s):
                        await self._consumer.revoked(lease)
            except TimeoutError:
                _logger.warning("%r ends: its consumer did not let go within %g s", lease, wait_s)
            except Exception:
                _logger.exception("%r ends: its consumer failed to let go", lease)
            unseen = lease.unseen
            lease.end()
            await self._release(lease, unseen)
        except MillraceError as error:
            self._silent = True
            _logger.warning("%r is not given back (%s): it ends when it runs out", lease, error)
        finally:
            lease.end()
            self.leases.pop(index, None)
            self._giving_up.pop(index, None)
            self.wake()

    async def _release(self, lease: Lease, unseen: Sequence[bytes]) -> None:
        place = lease.place
        await self._control.script(
            "release", (place.lease_key, place.token_key, place.stream), place.group, lease.token, self.id, *unseen
        )
        await self._tell()

    async def _tell(self) -> Any:
        return await self._control.script("tell", (self.news_key,), self.id)

    async def _say_goodbye(self) -> None:
        try:
            await self._control.script("beat", self._beat_keys, self.id, 0, *self._remembered)
            await self._tell()
        except MillraceError as error:
            _logger.warning("%s of %s left without a goodbye: %s", self.group, self.address, error)
