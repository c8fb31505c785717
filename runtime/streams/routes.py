"""All stream routes of the worker, as its loops and a drain see them."""

from __future__ import annotations

from contracts.ports import Clock
from runtime.streams.consumer import StreamConsumer
from runtime.supervisor import Fate

COMMIT_EVERY_S = 0.25


class Streams:
    """Implements `runtime.supervisor.InFlight`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.consumers: list[StreamConsumer] = []

    def add(self, consumer: StreamConsumer) -> None:
        self.consumers.append(consumer)

    async def run(self) -> None:
        """The loop that commits what is finished."""
        while True:
            await self._clock.sleep(COMMIT_EVERY_S)
            await self.commit()

    async def commit(self) -> None:
        for consumer in self.consumers:
            await consumer.commit()

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
