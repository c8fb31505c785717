"""All stream routes of the worker, as its loops and a drain see them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from contracts.errors import Unavailable
from contracts.ports import Clock, Ledger, Log
from contracts.ports.partitions import Reported
from runtime.streams.consumer import StreamConsumer
from runtime.streams.partition import OwnedPartition
from runtime.streams.solitude import Solitude
from runtime.supervisor import Fate

COMMIT_EVERY_S = 0.25
HURRY_S = 0.01
"""Between two reports at least, when messages wait for one."""
TELL_EVERY_S = 5.0
"""The ledger hears of the lag so often, even when nothing moves."""


class Streams:
    """Implements `runtime.supervisor.InFlight`."""

    def __init__(self, clock: Clock, ledger: Callable[[], Ledger], log: Log) -> None:
        self._clock = clock
        self._ledger = ledger
        self._log = log
        self._hurried = asyncio.Event()
        self._told_at = 0.0
        self.solitude = Solitude()
        self.consumers: list[StreamConsumer] = []

    def add(self, consumer: StreamConsumer) -> None:
        self.consumers.append(consumer)

    def hurry(self) -> None:
        """Messages wait until the ledger knows that they may be started."""
        self._hurried.set()

    async def report(self) -> None:
        """The loop that tells the ledger how far we are, so that what waits for that can start."""
        while True:
            await self._wait()
            await self._report()

    async def commit_regularly(self) -> None:
        """The loop that commits: not often, and nothing that could start waits for it, since a bus takes its time."""
        while True:
            await self._clock.sleep(COMMIT_EVERY_S)
            await self._commit()

    async def look(self) -> None:
        """The loop that carries what waits in the ledger."""
        while True:
            for consumer in self.consumers:
                await consumer.look()
            await self._clock.sleep(COMMIT_EVERY_S)

    async def commit(self) -> None:
        """For a drain, at once. The ledger first: where effects stand there, the bus only follows."""
        await self._report()
        await self._commit()

    async def _commit(self) -> None:
        for fault in await asyncio.gather(*(one.commit() for one in self._owned()), return_exceptions=True):
            if isinstance(fault, Unavailable):
                self._log.warn("not committed yet", error=str(fault))
            elif isinstance(fault, BaseException):
                raise fault

    def _owned(self) -> list[OwnedPartition]:
        return [one for consumer in self.consumers for one in consumer.owned.values()]

    async def _report(self) -> None:
        await self._tell()
        for consumer in self.consumers:
            consumer.reported()

    async def _tell(self) -> None:
        anyway = self._clock.monotonic() - self._told_at >= TELL_EVERY_S
        reports: list[tuple[OwnedPartition, Reported]] = [
            (one, report) for one in self._owned() if (report := one.report(anyway=anyway)) is not None
        ]
        if not reports:
            return
        try:
            kept = await self._ledger().partitions.report([report for _, report in reports])
        except Unavailable as error:
            self._log.warn("positions are not in the ledger yet", error=str(error))
            for one, _ in reports:
                one.go_on_unreported()
            return
        if anyway:
            self._told_at = self._clock.monotonic()
        for (one, report), ours in zip(reports, kept, strict=True):
            if ours:
                one.reported(report)
                continue
            for consumer in self.consumers:
                if one in consumer.owned.values():  # else it was revoked while this was asked
                    consumer.lost(one)

    async def _wait(self) -> None:
        """A tick, or less when messages wait."""
        await self._clock.sleep(HURRY_S)
        with suppress(TimeoutError):
            async with self._clock.timeout(COMMIT_EVERY_S):
                await self._hurried.wait()
        self._hurried.clear()

    def stop(self) -> None:
        for consumer in self.consumers:
            consumer.stop()

    def in_flight(self) -> list[str]:
        return [
            delivery.envelope.id
            for consumer in self.consumers
            for passage in consumer.passages
            for delivery in passage.open.values()
        ]

    async def finished(self) -> None:
        """What only waits for its next attempt is not waited for: it goes back."""
        for consumer in self.consumers:
            consumer.end_what_waits()
        for consumer in self.consumers:
            await consumer.idle.wait()

    def ask_to_stop(self) -> None:
        """Handlers of streams are short: there is nothing to ask of them."""

    def cut(self) -> None:
        for consumer in self.consumers:
            consumer.cut()

    def fate(self, work_id: str) -> Fate:
        return next((c.fates[work_id] for c in self.consumers if work_id in c.fates), "abandoned")
