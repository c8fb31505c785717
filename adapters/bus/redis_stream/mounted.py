"""Mounted routes: native subscribers of the Redis broker whose consume loop is ours."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

from faststream._internal.endpoint.subscriber import SubscriberUsecase
from faststream._internal.endpoint.subscriber.call_item import CallsCollection
from faststream.message import StreamMessage
from faststream.redis.schemas import StreamSub
from faststream.redis.subscriber.config import RedisSubscriberConfig

from adapters.bus.owned import OwnedTasks
from adapters.bus.redis_stream.lease import Lease
from adapters.bus.redis_stream.member import Member
from adapters.bus.redis_stream.reader import FetchLoop
from adapters.bus.redis_stream.received import Received, as_seen, parsed, undecoded
from adapters.bus.redis_stream.specification import MountedSpecification
from contracts.cancellation import being_cancelled
from contracts.errors import MillraceError
from contracts.message import Delivery
from contracts.ports.bus import Consumer
from contracts.ports.clock import Clock

_logger = logging.getLogger("millrace.bus")

BROKEN = "bus: the consumer failed"
MIDDLEWARE = "bus: a middleware failed"
FIRST_BACK_OFF_S = 0.1
LAST_BACK_OFF_S = 30.0

Join = Callable[["MountedSubscriber"], Awaitable[tuple[Member, FetchLoop]]]


class MountedSubscriber(SubscriberUsecase[Any]):
    """One route of the runtime on the broker.

    Fetches go to the consumer as they are. Only when the broker has FastStream middlewares does each message pass
    through them, around the hand-over of that one message: a middleware that doesn't call on keeps the message from
    the consumer for good; one that raises has it delivered again, with a growing pause and before what follows it in
    its partition, until it does not raise: `fault` says so meanwhile.
    """

    def __init__(
        self,
        config: RedisSubscriberConfig,
        specification: MountedSpecification,
        calls: CallsCollection[Any],
        *,
        consumer: Consumer,
        clock: Clock,
        join: Join,
    ) -> None:
        assert isinstance(config.stream_sub, StreamSub)
        config.parser = parsed
        config.decoder = undecoded
        super().__init__(config, specification, calls)  # type: ignore[arg-type]  # FastStream's own has the same
        self.topic = config.stream_sub.name
        self.group = config.stream_sub.group or ""
        self.consumer = consumer
        self.member: Member | None = None
        """Its membership while it is started."""
        self._clock = clock
        self._join = join
        self._fetching: FetchLoop | None = None
        self._loop = OwnedTasks(f"route {self.topic}")
        self._broken = ""
        self._failing: dict[Lease, tuple[str, float]] = {}  # why a middleware failed, and the next pause

    @property
    def faults(self) -> list[str]:
        """Why something is not fetched or not handed over."""
        found = [self._broken, *(why for why, _ in self._failing.values())]
        if self.member is not None:
            found += [self.member.fault, *self.member.faults.values()]
        if self._fetching is not None:
            found.append(self._fetching.fault)
        return [f"{self.topic}: {each}" for each in dict.fromkeys(found) if each]

    async def start(self) -> None:
        """Join the group. Raises `Faults` where Redis knows the address or the group otherwise."""
        if self.member is not None:
            return
        await super().start()
        self._broken = ""
        self._failing.clear()
        member, fetching = await self._join(self)
        self.member, self._fetching = member, fetching
        self._post_start()
        self._loop.start(fetching.run(self._hand_over), "fetch")

    def drain(self) -> None:
        """No more `fetched`, from this moment on."""
        if self.member is not None:
            self.member.drain()

    async def stop(self) -> None:
        """End the loop, then give every partition up, awaiting the consumer's `revoked` with its deadline."""
        member, fetching = self.member, self._fetching
        self.member = self._fetching = None
        if member is None or fetching is None:
            return
        self.running = False
        member.drain()
        try:
            await self._loop.close()
            await fetching.close()
        finally:
            await member.leave()

    def evict(self) -> None:
        """Stop at once, and tell nobody."""
        member, fetching = self.member, self._fetching
        self.member = self._fetching = None
        self._loop.cancel()
        if member is not None and fetching is not None:
            fetching.abandon()
            member.evict()

    async def get_one(self, *, timeout: float = 5.0) -> StreamMessage[Any] | None:  # noqa: ASYNC109
        raise RuntimeError(f"the messages of {self.topic} go to its route: declare a subscriber of another group")

    def __aiter__(self) -> AsyncIterator[StreamMessage[Any]]:
        raise RuntimeError(f"the messages of {self.topic} go to its route: declare a subscriber of another group")

    def get_log_context(self, message: StreamMessage[Any] | None) -> dict[str, str]:
        return {"channel": self.topic, "group": self.group, "message_id": getattr(message, "message_id", "")}

    async def handed_over(self, message: StreamMessage[Received]) -> None:
        """FastStream's handler of the route: what is reached within all middlewares."""
        received = message.raw_message
        received.reached = True
        lease = received.lease
        if lease.open and not lease.member.draining:
            self._give(lease, [as_seen(message)])
        elif not lease.over:  # it was paused, revoked or drained while the message was on its way
            lease.hand_back(received.delivery)

    def _get_parser_and_decoder(self, item_parser: Any = None, item_decoder: Any = None) -> tuple[Any, Any]:
        # The runtime decodes by the route's contract, so the application's codec has no say here.
        return self._parser, self._decoder

    def _make_response_publisher(self, message: StreamMessage[Any]) -> Iterable[Any]:
        return ()

    def _hand_over(self, lease: Lease) -> Awaitable[None] | None:
        if self._broker_middlewares:
            return self._through_middlewares(lease, lease.next_fetch(max_rows=1)[0])
        self._give(lease, lease.next_fetch())
        return None

    async def _through_middlewares(self, lease: Lease, delivery: Delivery) -> None:
        received = Received(delivery, lease)
        error = ""
        try:
            await self.process_message(received)
        except asyncio.CancelledError:
            if being_cancelled():
                raise
            error = "it waited for something that was cancelled"
        except Exception as raised:  # noqa: BLE001 - a middleware may raise anything; the message must not be lost
            error = f"{type(raised).__name__}: {raised}"
        if received.reached or lease.over:
            self._failing.pop(lease, None)
        elif error:
            await self._hold(lease, delivery, error)
        else:
            self._failing.pop(lease, None)
            await lease.finish(delivery.position)

    async def _hold(self, lease: Lease, delivery: Delivery, error: str) -> None:
        _, after_s = self._failing.get(lease, ("", FIRST_BACK_OFF_S))
        why = f"partition {lease.partition.index} waits: a middleware failed: {error}"
        self._failing[lease] = (why, min(after_s * 2, LAST_BACK_OFF_S))
        _logger.warning("%r waits %g s: a middleware failed: %s", lease, after_s, error)
        lease.pause(MIDDLEWARE)
        try:
            await lease.release((delivery.position,))
        except MillraceError:
            return  # it went to another
        self._loop.start(self._resume(lease, after_s), "wait for a middleware")

    async def _resume(self, lease: Lease, after_s: float) -> None:
        await self._clock.sleep(after_s)
        lease.resume(MIDDLEWARE)

    def _give(self, lease: Lease, deliveries: list[Delivery]) -> None:
        try:
            self.consumer.fetched(lease, deliveries)
        except Exception as error:  # whatever it raises, the fetch must neither be lost nor spin
            lease.pause(BROKEN)
            self._broken = f"{type(error).__name__}: {error}"
            _logger.exception(
                "%r is paused: its consumer raised, so what it was handed stays unfinished until the partition moves",
                lease,
            )
