"""From aiokafka's buffers to the consumer: a loop that waits for data, never for a handler."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiokafka.errors import KafkaError, OffsetOutOfRangeError  # type: ignore[import-untyped]
from aiokafka.structs import TopicPartition  # type: ignore[import-untyped]

from adapters.bus.kafka import seams
from adapters.bus.kafka.delivery import KafkaDelivery
from adapters.bus.kafka.lease import KafkaLease
from adapters.bus.kafka.limits import KafkaLimits
from adapters.bus.kafka.member import Member
from adapters.bus.kafka.salvage import read_leniently
from adapters.bus.owned import OwnedTasks
from adapters.bus.turn import next_turn
from contracts.ports.clock import Clock

_logger = logging.getLogger("millrace.bus")

ERROR_PAUSE_S = 1.0
UNREADABLE_PAUSE_S = 5.0
UNREADABLE = "bus: unreadable"
POLL_S = 1.0
"""aiokafka is asked at least so often, for it tells its troubles only to who asks."""

HandOver = Callable[[KafkaLease, list[KafkaDelivery]], Awaitable[None] | None]


class Fetching:
    """What is paused is neither asked for nor lost: what aiokafka has read ahead of it stays there, and what it has
    handed out stays with the lease, each bounded by one fetch.

    `whole` hands over fetches; else one message at a time, and awaits it.
    """

    def __init__(self, member: Member, limits: KafkaLimits, clock: Clock) -> None:
        self.fault = ""
        """What aiokafka told the last time that it was asked."""
        self.draining = False
        self._member = member
        self._limits = limits
        self._clock = clock
        self._nowhere = TopicPartition(member.topic, -1)
        self._stirred = False
        self._arrival: asyncio.Future[None] | None = None
        self._tasks = OwnedTasks(f"fetching {member.topic}")
        member.wake = self.wake

    async def close(self) -> None:
        """Nothing of it runs any more."""
        self.draining = True
        await self._tasks.close()

    def wake(self) -> None:
        self._stirred = True
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    async def run(self, client: Any, hand_over: HandOver, *, whole: bool) -> None:
        """Returns when the consumer is broken: only a new one helps."""
        rows, size_bytes = (self._limits.max_rows, self._limits.max_bytes) if whole else (1, self._limits.max_bytes)
        while seams.is_running(client):
            self._stirred = False
            try:
                await client.getmany(self._nowhere)
            except KafkaError as error:
                await self._trouble(error)
                continue
            took = await self._take(client, hook=whole)
            for lease in list(self._member.leases.values()):
                if lease.waiting and lease.ready and not self.draining:
                    took = True
                    if (handed := hand_over(lease, lease.next_fetch(rows, size_bytes))) is not None:
                        await handed
                    await next_turn()
            if not took:
                await self._wait(client)

    async def _take(self, client: Any, *, hook: bool) -> bool:
        """Let aiokafka hand out what it has of partitions that have nothing in hand; whether it had anything."""
        took = False
        by_tp = {} if self.draining else {each.tp: each for each in self._member.leases.values() if each.ready}
        for tp in seams.in_hand(client):
            lease = by_tp.get(tp)
            # It may have been paused by what was just handed over.
            if lease is None or lease.waiting or not lease.ready:
                continue
            if hook:
                seams.read_as(client, tp, lease.read)
            try:
                fetched = (await client.getmany(tp, max_records=self._limits.max_rows)).get(tp)
            except OffsetOutOfRangeError:
                self._member.reopen(lease)
            except Exception as error:  # noqa: BLE001 - what is corrupt may fail in any way
                self._unreadable(client, lease, error)
            else:
                if fetched and lease.opened:
                    took = True
                    lease.take(fetched)
                    lease.end = max(lease.end, client.highwater(tp) or 0)
        return took

    def _unreadable(self, client: Any, lease: KafkaLease, error: Exception) -> None:
        """aiokafka would go on behind what it had read before the error, and behind what it can't read."""
        self._member.seek(lease)
        lease.pause(UNREADABLE)
        index = lease.partition.index
        self._member.faults[index] = f"can't be read from {lease.position} on: {type(error).__name__}: {error}"
        _logger.error("%r can't be read from %d on", lease, lease.position, exc_info=error)
        self._tasks.start(self._salvage(client, lease), f"salvage partition {index}")

    async def _salvage(self, client: Any, lease: KafkaLease) -> None:
        """Read it in another way, or wait: for a codec that is missing, for a broker that has the bytes right."""
        try:
            size_bytes = self._limits.partition_fetch_bytes
            records, position = await read_leniently(client, lease.tp, lease.position, size_bytes=size_bytes)
        except Exception as error:
            _logger.error("%r can't be read at all", lease, exc_info=error)
            await self._clock.sleep(UNREADABLE_PAUSE_S)
        else:
            if self._member.is_ours(lease) and lease.opened:
                lease.take(records)
                lease.skip_to(position)
                self._member.faults.pop(lease.partition.index, None)
        lease.resume(UNREADABLE)

    async def _wait(self, client: Any) -> None:
        self.fault = ""
        if self._stirred:
            return
        try:
            self._arrival = seams.arrival(client)
            async with self._clock.timeout(POLL_S):
                await self._arrival
        except TimeoutError:
            pass
        except KafkaError as error:
            await self._trouble(error)
        finally:
            self._arrival = None

    async def _trouble(self, error: KafkaError) -> None:
        self.fault = f"{self._member.topic}: {type(error).__name__}: {error}"
        _logger.error("%s, group %s: %s", self._member.topic, self._member.group, error, exc_info=error)
        await self._clock.sleep(ERROR_PAUSE_S)
