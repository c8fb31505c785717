"""Reading: one loop for all partitions of a member, fenced by whose they are."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from redis.exceptions import ResponseError

from adapters.bus.owned import OwnedTasks
from adapters.bus.redis_stream.lease import Lease
from adapters.bus.redis_stream.link import Link, Wire, checked, is_gone
from adapters.bus.redis_stream.member import FIRST_RETRY_S, LAST_RETRY_S, Member
from adapters.bus.redis_stream.script import Command
from adapters.bus.redis_stream.server import Server
from adapters.bus.turn import next_turn
from contracts.errors import LeaseLost, MillraceError, Unavailable
from contracts.ports.clock import Clock

_logger = logging.getLogger("millrace.bus")

BLOCK_S = 2.0
"""How long one wait in Redis lasts; it is cut short when something changes here."""
BLIND_BLOCK_S = 0.1
"""The same where the server does not let us cut it short."""
UNBLOCK_TRIES = 20
ROWS_AT_ONCE = 1_000
"""Of all partitions together, more or less: a transaction's replies are kept by Redis until its end, and what doesn't
fit its caches costs it twice the time."""

HandOver = Callable[[Lease], Awaitable[None] | None]
"""Takes the next fetch from the lease and gives it to the consumer."""


class FetchLoop:
    """Reads what is new, has it handed over, and waits in Redis when there is nothing.

    The tokens of all partitions are watched on the connection that reads, and XREADGROUP stands in a transaction: when
    any token changed after we last saw it, the server reads nothing. So whoever lost a partition, however long it was
    asleep, takes nothing from the next owner. The watch for the next read is set in the round trip of this one.
    """

    def __init__(self, member: Member, server: Server, control: Link, *, clock: Clock, timeout_s: float) -> None:
        self._member = member
        self._control = control
        self._clock = clock
        self._timeout_s = timeout_s
        self._wire = Wire(server, clock=clock, timeout_s=timeout_s)
        self._wake = asyncio.Event()
        self._tasks = OwnedTasks(f"reading of {member.address}")
        self._client_id: int | None = None
        self._watched: frozenset[Lease] = frozenset()  # their tokens were ours when we began to watch them
        self._wait_number = 0
        self._waiting = 0  # the number of the wait that is under way in Redis; 0: none
        self._news_id: bytes = b"0-0"
        self._turn = 0
        self.fault = ""
        """Why nothing is read."""

    def wake(self) -> None:
        if not self._wake.is_set():
            self._wake.set()
            self._cut_wait()

    async def run(self, hand_over: HandOver) -> None:
        """For ever; a connection that breaks is made anew, with a growing pause."""
        retry_s = FIRST_RETRY_S
        while True:
            try:
                await self._turn_once(hand_over)
                retry_s = FIRST_RETRY_S
                if self.fault:
                    _logger.info("%s is read again", self._member.address)
                    self.fault = ""
            except MillraceError as error:
                if not self.fault:
                    _logger.warning("%s is not read: %s", self._member.address, error)
                self.fault = str(error)
                await self._clock.sleep(retry_s * (0.5 + self._clock.random() / 2))
                retry_s = min(retry_s * 2, LAST_RETRY_S)

    async def close(self) -> None:
        await self._tasks.close()
        await self._wire.close()

    def abandon(self) -> None:
        self._tasks.cancel()
        self._wire.abandon()

    async def _turn_once(self, hand_over: HandOver) -> None:
        self._wake.clear()
        if not self._wire.connected:
            await self._connect()
        leases = self._open_leases()
        for lease in leases:
            await self._bring_again(lease)
        wanted = [lease for lease in leases if lease.news and not lease.ready and lease.recovering is None]
        if wanted or self._watched != self._to_watch():
            await self._read(wanted)
        handed_over = False
        for lease in leases:
            while lease.open and lease.ready and not self._member.draining:
                handed_over = True
                if (handing := hand_over(lease)) is not None:
                    await handing
                await next_turn()
        if not handed_over and not self._wake.is_set() and not any(lease.open and lease.has_more for lease in leases):
            await self._wait(leases)

    def _open_leases(self) -> list[Lease]:
        """In turn, so that none is always the last."""
        if self._member.draining:
            return []
        leases = [lease for lease in self._member.leases.values() if lease.open]
        self._turn += 1
        at = self._turn % len(leases) if leases else 0
        return leases[at:] + leases[:at]

    def _to_watch(self) -> frozenset[Lease]:
        return frozenset(lease for lease in self._member.leases.values() if lease.fetching)

    async def _connect(self) -> None:
        self._watched = frozenset()
        await self._wire.connect()
        [reply] = await self._wire.exchange([("CLIENT", "ID")])
        self._client_id = reply if isinstance(reply, int) else None

    # --- what comes again

    async def _bring_again(self, lease: Lease) -> None:
        """What was handed back here, and what former owners left, by scripts that look at the token."""
        try:
            if ids := lease.take_back():
                try:
                    await self._claim(lease, "claim", *ids)
                except Unavailable:
                    lease.not_taken_back(ids)
                    raise
            if lease.recovering is not None and not lease.ready:
                arguments = (lease.recover_after, lease.recover_to, lease.rows, lease.recovering)
                lease.recovered(await self._claim(lease, "recover", *arguments))
        except LeaseLost:
            self._lost(lease)

    async def _claim(self, lease: Lease, name: str, *arguments: str | bytes | int) -> bytes:
        place = lease.place
        reply = await self._wire.script(
            name, (place.token_key, place.stream), place.group, lease.token, self._member.id, *arguments
        )
        if is_gone(reply) or (isinstance(reply, list) and reply[0] == 0):
            raise lease.refusal("fetch")
        _, entries, counts, after, gone = checked(reply)
        if gone:
            _logger.warning("%d entries of %s were pending, and deleted by somebody: they are lost", gone, place.stream)
        if lease.fetching:
            lease.came_again(entries, counts)
        return bytes(after)

    # --- what is new

    async def _read(self, wanted: Sequence[Lease]) -> None:
        reading = self._next_to_read(wanted)
        watching = self._to_watch()
        tokens = [lease.place.token_key for lease in watching]
        commands: list[Command] = [("UNWATCH",)]
        if reading:
            reads: list[Command] = [self._xreadgroup(lease, rows) for lease, rows in reading]
            commands = [("MULTI",), *reads, ("EXEC",)]
        if tokens:
            commands += [("WATCH", *tokens), ("MGET", *tokens)]
        commands.append(("XREAD", "COUNT", 1, "STREAMS", self._member.news_key, self._news_id))
        self._watched = frozenset()
        try:
            replies = await self._wire.exchange(commands)
            if reading:
                for reply in replies[: len(reading) + 1]:  # what discards a transaction is told before it is
                    checked(reply)
                self._take_in(reading, replies[len(reading) + 1])
        except BaseException:
            for lease, _ in reading:
                lease.read_again()
            raise
        self._look_at_news(replies[-1])
        if tokens:
            checked(replies[-3])
            self._watched = frozenset(self._ours(list(watching), checked(replies[-2])))

    def _next_to_read(self, wanted: Sequence[Lease]) -> list[tuple[Lease, int]]:
        """Who is read now, and how many entries; the others have their turn next."""
        reading: list[tuple[Lease, int]] = []
        left = ROWS_AT_ONCE
        for lease in wanted:
            if lease in self._watched and left > 0:
                reading.append((lease, lease.rows))
                left -= lease.rows
        return reading

    def _xreadgroup(self, lease: Lease, rows: int) -> Command:
        place = lease.place
        return ("XREADGROUP", "GROUP", place.group, self._member.id, "COUNT", rows, "STREAMS", place.stream, ">")

    def _take_in(self, reading: Sequence[tuple[Lease, int]], results: Any) -> None:
        if checked(results) is None:
            return  # a token changed; whose is known by now, and the others are read in the next turn
        fault: ResponseError | None = None
        for (lease, rows), result in zip(reading, results, strict=True):
            if is_gone(result):
                self._lost(lease)
            elif isinstance(result, ResponseError):
                fault = result
            else:
                lease.came(result[0][1] if result else [], rows)
        checked(fault)

    def _ours(self, watching: Sequence[Lease], tokens: Sequence[bytes | None]) -> list[Lease]:
        ours = []
        for lease, token in zip(watching, tokens, strict=True):
            if token == lease.token.encode():
                ours.append(lease)
            else:
                self._lost(lease)
        return ours

    def _lost(self, lease: Lease) -> None:
        lease.lost = True
        lease.fetching = False
        self._member.wake()

    # --- waiting

    async def _wait(self, leases: Sequence[Lease]) -> None:
        """Until something is new in one of the streams or in the group, or something changed here."""
        waited = {lease.place.stream.encode(): lease for lease in leases if lease.open}
        streams: list[str | bytes] = [self._member.news_key, *waited]
        ids = [self._news_id, *(lease.last_id for lease in waited.values())]
        block_s = BLIND_BLOCK_S if self._client_id is None else BLOCK_S
        await self._wire.send([("XREAD", "COUNT", 1, "BLOCK", int(block_s * 1000), "STREAMS", *streams, *ids)])
        self._wait_number += 1
        self._waiting = self._wait_number
        if self._wake.is_set():
            self._cut_wait()
        try:
            [reply] = await self._wire.receive(1, within_s=block_s + self._timeout_s)
        finally:
            self._waiting = 0
        for stream, entries in checked(reply) or ():
            if lease := waited.get(stream):
                lease.news = True
            else:
                self._look_at_news([(stream, entries)])

    def _look_at_news(self, reply: Any) -> None:
        for _, entries in checked(reply) or ():
            self._news_id = entries[-1][0]
            self._member.wake()

    def _cut_wait(self) -> None:
        if self._waiting and self._client_id is not None:
            self._tasks.start(self._unblock(self._waiting, self._client_id), "unblock")

    async def _unblock(self, waiting: int, client_id: int) -> None:
        """The wait ends at once. It may not have reached the server yet: then it is asked once more."""
        for _ in range(UNBLOCK_TRIES):
            try:
                [reply] = await self._control.calls([("CLIENT", "UNBLOCK", client_id)])
            except Unavailable:
                return
            if isinstance(reply, ResponseError):
                self._client_id = None  # not allowed here: waits are short from now on
                return
            if reply == 1 or self._waiting != waiting:
                return
            await self._clock.sleep(0.001)
