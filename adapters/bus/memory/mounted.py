"""Mounted routes: native subscribers whose consume loop hands whole fetches to the runtime."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from typing import Any

import msgspec
from faststream._internal.endpoint.subscriber import SubscriberSpecification, SubscriberUsecase
from faststream._internal.endpoint.subscriber.call_item import CallsCollection
from faststream.message import StreamMessage

from adapters.bus.memory.config import MemorySubscriberConfig, log_of
from adapters.bus.memory.log import MemoryLog
from adapters.bus.memory.member import Lease, Member
from adapters.bus.memory.message import Received
from adapters.bus.memory.parser import MemoryParser
from adapters.bus.owned import OwnedTasks
from adapters.bus.turn import next_turn
from contracts.cancellation import being_cancelled
from contracts.message import Delivery
from contracts.ports.bus import Consumer

_logger = logging.getLogger("millrace.bus")

BROKEN = "bus: the consumer failed"
MIDDLEWARE = "bus: a middleware failed"


class FetchLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much one `fetched` gets at most (one message is handed over whatever its size)."""

    max_rows: int = 1_000
    max_bytes: int = 4 * 1024 * 1024


class MountedSubscriber(SubscriberUsecase[Received]):
    """One route of the runtime on the broker.

    Fetches go to the consumer as they are. Only when the broker has FastStream middlewares does each message pass
    through them, around the hand-over of that one message: a middleware that doesn't call on keeps the message from
    the consumer for good; one that raises has it delivered again, after a back-off and before what follows it in its
    partition, and buried at its last delivery.
    """

    def __init__(
        self,
        config: MemorySubscriberConfig,
        specification: SubscriberSpecification[Any, Any],
        calls: CallsCollection[Received],
        *,
        consumer: Consumer,
        limits: FetchLimits,
        revoke_wait_s: float,
    ) -> None:
        config.parser = MemoryParser().parse_message
        config.decoder = _undecoded
        super().__init__(config, specification, calls)
        self.group = config.group
        self.consumer = consumer
        self.fault = ""
        """Why nothing is handed over any more: the consumer raised."""
        self._config = config
        self._limits = limits
        self._revoke_wait_s = revoke_wait_s
        self._member: Member | None = None
        self._loop = OwnedTasks(f"route {config.topic}")

    @property
    def topic(self) -> str:
        return self._config.topic

    @property
    def member(self) -> Member | None:
        """Its membership while it is started."""
        return self._member

    @property
    def log(self) -> MemoryLog:
        return log_of(self._outer_config)

    def claim(self) -> None:
        """Make the group's place, so that nothing that is published from now on is missed."""
        self.log.subscribe(self.topic, self.group, self._config.partitions)

    async def start(self) -> None:
        if self._member is not None:
            return
        topic, group = self.log.subscribe(self.topic, self.group, self._config.partitions)
        await super().start()
        self.fault = ""
        self._member = member = Member(topic, group, self.consumer, revoke_wait_s=self._revoke_wait_s)
        self._post_start()
        self._loop.start(self._fetch(member), "fetch")
        group.join(member)

    def drain(self) -> None:
        """No more `fetched`, from this moment on."""
        if self._member:
            self._member.drain()

    async def stop(self) -> None:
        """End the loop, then give every partition up, awaiting the consumer's `revoked` with its deadline."""
        member, self._member = self._member, None
        if member is None:
            return
        self.running = False
        member.drain()
        try:
            await self._loop.close()
        finally:
            await member.leave()

    async def get_one(self, *, timeout: float = 5.0) -> StreamMessage[Received] | None:  # noqa: ASYNC109
        raise RuntimeError(f"the messages of {self.topic} go to its route: declare a subscriber of another group")

    def __aiter__(self) -> AsyncIterator[StreamMessage[Received]]:
        raise RuntimeError(f"the messages of {self.topic} go to its route: declare a subscriber of another group")

    def get_log_context(self, message: StreamMessage[Any] | None) -> dict[str, str]:
        return {"topic": self.topic, "group": self.group, "message_id": getattr(message, "message_id", "")}

    async def handed_over(self, message: StreamMessage[Received]) -> None:
        """FastStream's handler of the route: what is reached within all middlewares."""
        received = message.raw_message
        lease = received.lease
        assert lease is not None
        received.settled = True
        if lease.fetching and not lease.reasons and not lease.member.draining:
            self._hand_over(lease, [_as_seen(message)])
        else:  # it was paused, revoked or drained while the message was on its way through the middlewares
            lease.untake(received.delivery.position)

    def _get_parser_and_decoder(self, item_parser: Any = None, item_decoder: Any = None) -> tuple[Any, Any]:
        # The runtime decodes by the route's contract, so the application's codec has no say here.
        return self._parser, self._decoder

    def _make_response_publisher(self, message: StreamMessage[Any]) -> Iterable[Any]:
        return ()

    async def _fetch(self, member: Member) -> None:
        rows, size_bytes = self._limits.max_rows, self._limits.max_bytes
        while True:
            await member.wake.wait()
            member.wake.clear()
            while lease := member.next_ready():
                if self._broker_middlewares:
                    for delivery in lease.take(1, size_bytes):
                        await self._through_middlewares(lease, delivery)
                elif deliveries := lease.take(rows, size_bytes):
                    self._hand_over(lease, deliveries)
                lease.signal()
                await next_turn()

    async def _through_middlewares(self, lease: Lease, delivery: Delivery) -> None:
        position = delivery.position
        received = Received(delivery, lease, log=self.log, group=self.group)
        error = ""
        try:
            await self.process_message(received)
        except asyncio.CancelledError:
            if being_cancelled():
                raise
            error = "it waited for something that was cancelled"
        except Exception as raised:  # noqa: BLE001 - a middleware may raise anything; the message must not be lost
            error = f"{type(raised).__name__}: {raised}"
        if received.settled or lease.over:
            return
        if error and delivery.deliveries < self._config.redelivery.deliveries:
            after_s = self._config.redelivery.after_s(delivery.deliveries)
            _logger.warning("%r waits %g s: a middleware failed: %s", lease, after_s, error)
            lease.pause(MIDDLEWARE)
            await lease.release((position,))
            self.log.call_later(after_s, lambda: lease.resume(MIDDLEWARE))
            return
        lease.finish(position)
        if error:
            self.log.bury(delivery, self.group, f"a middleware failed {delivery.deliveries} times: {error}")

    def _hand_over(self, lease: Lease, deliveries: list[Delivery]) -> None:
        try:
            self.consumer.fetched(lease, deliveries)
        except Exception as error:  # noqa: BLE001 - whatever it raises, the fetch must neither be lost nor spin
            self._broken(lease, error)

    def _broken(self, lease: Lease, error: Exception) -> None:
        lease.pause(BROKEN)
        self.fault = f"{self.topic}: {type(error).__name__}: {error}"
        _logger.error(
            "%r is paused: its consumer raised, so what it was handed stays unfinished until the partition moves",
            lease,
            exc_info=error,
        )


async def _undecoded(message: StreamMessage[Any]) -> StreamMessage[Any]:
    return message


def _as_seen(message: StreamMessage[Received]) -> Delivery:
    """The delivery with what middlewares made of its body and headers."""
    delivery = message.raw_message.delivery
    envelope = delivery.envelope
    if message.body is envelope.body and message.headers == envelope.headers:
        return delivery
    seen = msgspec.structs.replace(envelope, body=message.body, headers=message.headers)
    return msgspec.structs.replace(delivery, envelope=seen)
