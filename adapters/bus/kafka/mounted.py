"""Mounted routes: native FastStream subscribers whose consume loop is ours."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from copy import deepcopy
from typing import Any, cast

from aiokafka import AIOKafkaConsumer  # type: ignore[import-untyped]
from aiokafka.errors import KafkaError  # type: ignore[import-untyped]
from faststream._internal.endpoint.subscriber import SubscriberUsecase
from faststream._internal.endpoint.subscriber.call_item import CallsCollection
from faststream.kafka.subscriber.config import KafkaSubscriberConfig, KafkaSubscriberSpecificationConfig
from faststream.kafka.subscriber.specification import KafkaSubscriberSpecification
from faststream.message import StreamMessage

from adapters.bus.kafka import seams
from adapters.bus.kafka.assignor import CooperativeAssignor
from adapters.bus.kafka.delivery import KafkaDelivery
from adapters.bus.kafka.fetching import Fetching
from adapters.bus.kafka.lease import KafkaLease
from adapters.bus.kafka.limits import KafkaLimits
from adapters.bus.kafka.member import Member
from adapters.bus.kafka.message import Passing, as_seen, parse, undecoded
from adapters.bus.kafka.refusal import reason_of
from adapters.bus.owned import OwnedTasks
from contracts.cancellation import being_cancelled
from contracts.errors import Unavailable
from contracts.message import Delivery
from contracts.ports.bus import Consumer
from contracts.ports.clock import Clock

_logger = logging.getLogger("millrace.bus")

BROKEN = "bus: the consumer failed"
MIDDLEWARE = "bus: a middleware failed"
MIDDLEWARE_ATTEMPTS = 5
MIDDLEWARE_FIRST_PAUSE_S = 0.1
FIRST_PAUSE_S = 0.5
LAST_PAUSE_S = 15.0
WATCH_S = 5.0


class MountedSpecification(KafkaSubscriberSpecification):
    """Shows the schema that the route was mounted with; the handler of the route is ours and says nothing of it."""

    def __init__(self, *args: Any, payload: dict[str, Any], **fields: Any) -> None:
        super().__init__(*args, **fields)
        self._payload = payload

    @property
    def description(self) -> str | None:
        return self.config.description_

    def get_payloads(self) -> list[tuple[dict[str, Any], str]]:
        return [(deepcopy(self._payload), self.call_name)]


class MountedSubscriber(SubscriberUsecase[Any]):
    """One route of the runtime, with an aiokafka consumer of its own.

    Fetches go to the consumer as they are. Only when the broker has FastStream middlewares does each message pass
    through them, around the hand-over of that one message: a middleware that doesn't call on keeps the message from
    the consumer; one that raises has it delivered again, after a back-off and before what follows it in its
    partition, and at last it goes to the consumer past the middlewares, for nothing here may lose a message.
    """

    def __init__(
        self,
        config: KafkaSubscriberConfig,
        specification: Any,
        calls: CallsCollection[Any],
        *,
        consumer: Consumer,
        member: Callable[[], Member],
        options: dict[str, Any],
        limits: KafkaLimits,
        clock: Clock,
    ) -> None:
        config.parser = parse
        config.decoder = undecoded
        super().__init__(config, specification, calls)
        self.consumer = consumer
        self.topic = consumer.route.address
        self.group = str(config.group_id)
        self.fault = ""
        """Why nothing is handed over any more: the consumer raised."""
        self.member: Member | None = None
        self._make_member = member
        self._fetching: Fetching | None = None
        self._client: Any = None
        self._options = options
        self._limits = limits
        self._clock = clock
        self._loop = OwnedTasks(f"route {self.topic}")
        self._failed: dict[tuple[int, int], int] = {}

    @property
    def faults(self) -> list[str]:
        """Why something of this route stands still."""
        found = [self.fault] if self.fault else []
        if self._fetching is not None and self._fetching.fault:
            found.append(self._fetching.fault)
        if self.member is not None:
            found.extend(f"{self.topic} partition {index}: {why}" for index, why in self.member.faults.items())
        return found

    async def start(self) -> None:
        if self.member is not None:
            return
        await super().start()
        member = self._make_member()
        client = await self._connected(member)
        self.fault = ""
        self.member = member
        self._fetching = Fetching(member, self._limits, self._clock)
        self._post_start()
        self._loop.start(self._run(member, self._fetching, client), "fetch")
        self._loop.start(member.watch(every_s=WATCH_S), "watch")

    def drain(self) -> None:
        """No more `fetched`, from this moment on."""
        if self._fetching is not None:
            self._fetching.draining = True

    async def stop(self) -> None:
        """Give every partition up, awaiting the consumer's `revoked` with its deadline, then leave the group."""
        member, self.member = self.member, None
        if member is None:
            return
        self.running = False
        self.drain()
        try:
            await member.leave()
        finally:
            await self._loop.close()
            if self._fetching is not None:
                await self._fetching.close()
            client, self._client = self._client, None
            if client is not None:
                await self._stopped(client)
            self._fetching = None

    async def abandon(self) -> None:
        """End everything without a word to anybody; the leases never learn of it."""
        member, self.member = self.member, None
        self.running = False
        await self._loop.close()
        if self._fetching is not None:
            await self._fetching.close()
        if member is not None:
            await member.abandon()
        client, self._client = self._client, None
        if client is not None:
            await seams.abandon_consumer(client)

    async def get_one(self, *, timeout: float = 5.0) -> StreamMessage[Any] | None:  # noqa: ASYNC109
        raise RuntimeError(f"the messages of {self.topic} go to its route: declare a subscriber of another group")

    def __aiter__(self) -> AsyncIterator[StreamMessage[Any]]:
        raise RuntimeError(f"the messages of {self.topic} go to its route: declare a subscriber of another group")

    def get_log_context(self, message: StreamMessage[Any] | None) -> dict[str, str]:
        return {"topic": self.topic, "group_id": self.group, "message_id": getattr(message, "message_id", "")}

    async def handed_over(self, message: StreamMessage[Any]) -> None:
        """FastStream's handler of the route: what is reached within all middlewares."""
        passing: Passing = message.raw_message
        passing.settled = True
        lease = passing.lease
        if lease.ready and self._fetching is not None and not self._fetching.draining:
            self._hand_over(lease, [as_seen(message)])
        elif not lease.over:  # it was paused or drained while the message was on its way through the middlewares
            await lease.release([passing.delivery.position])

    def _get_parser_and_decoder(self, item_parser: Any = None, item_decoder: Any = None) -> tuple[Any, Any]:
        # The runtime decodes by the route's contract, so the application's codec has no say here.
        return self._parser, self._decoder

    def _make_response_publisher(self, message: StreamMessage[Any]) -> Iterable[Any]:
        return ()

    async def _run(self, member: Member, fetching: Fetching, client: Any) -> None:
        """aiokafka finds its way back after most troubles; where it gave up, a new consumer takes its place."""
        pause_s = FIRST_PAUSE_S
        while True:
            hand_over = self._through_middlewares if self._broker_middlewares else self._hand_over
            began = self._clock.monotonic()
            try:
                await fetching.run(client, hand_over, whole=not self._broker_middlewares)
            except Exception as error:
                fetching.fault = f"{self.topic}: {type(error).__name__}: {error}"
                _logger.exception("%s: fetching failed", self.topic)
            _logger.error("%s: its Kafka client is replaced: it does not work any more", self.topic)
            member.part()
            await self._stopped(client)
            if self._clock.monotonic() - began > LAST_PAUSE_S:
                pause_s = FIRST_PAUSE_S
            while True:
                await self._clock.sleep(pause_s)
                pause_s = min(pause_s * 2, LAST_PAUSE_S)
                try:
                    client = await self._connected(member)
                    break
                except Unavailable as error:
                    fetching.fault = f"{self.topic}: {error}"

    async def _connected(self, member: Member) -> Any:
        client = AIOKafkaConsumer(
            **self._options,
            group_id=self.group,
            partition_assignment_strategy=(CooperativeAssignor(self.topic, member.claim),),
        )
        seams.renew_password(client)
        try:
            async with self._clock.timeout(self._limits.open_wait_s):
                await client.start()
        except (KafkaError, TimeoutError, OSError) as error:
            await seams.abandon_consumer(client)
            why = await reason_of(error, self._options, self._clock)
            raise Unavailable("kafka", f"no consumer for {self.topic}: {why}") from error
        except BaseException:
            await seams.abandon_consumer(client)
            raise
        self._client = client
        member.join(client)
        return client

    async def _stopped(self, client: Any) -> None:
        try:
            seams.leave_when_stopped(client)
            async with self._clock.timeout(self._limits.close_wait_s):
                await client.stop()
        except (KafkaError, TimeoutError, OSError) as error:
            _logger.warning("%s: the group was not left in order: %s", self.topic, error or "no answer")
        finally:
            await seams.abandon_consumer(client)

    async def _through_middlewares(self, lease: KafkaLease, deliveries: list[KafkaDelivery]) -> None:
        [delivery] = deliveries
        passing = Passing(delivery, lease)
        error = ""
        try:
            await self.process_message(passing)
        except asyncio.CancelledError:
            if being_cancelled():
                raise
            error = "it waited for something that was cancelled"
        except Exception as raised:  # noqa: BLE001 - a middleware may raise anything; the message must not be lost
            error = f"{type(raised).__name__}: {raised}"
        place = (lease.partition.index, delivery.position)
        if passing.settled or lease.over or not error:
            self._failed.pop(place, None)
            return
        self._failed[place] = failures = self._failed.get(place, 0) + 1
        if failures >= MIDDLEWARE_ATTEMPTS:
            _logger.error("%r: position %d goes past the middlewares: %s", lease, delivery.position, error)
            self._failed.pop(place)
            self._hand_over(lease, [delivery])
            return
        after_s = MIDDLEWARE_FIRST_PAUSE_S * 2 ** (failures - 1)
        _logger.warning("%r waits %g s: a middleware failed: %s", lease, after_s, error)
        lease.pause(MIDDLEWARE)
        await lease.release([delivery.position])
        self._loop.start(self._resume_later(lease, after_s), "wait for a middleware")

    async def _resume_later(self, lease: KafkaLease, after_s: float) -> None:
        await self._clock.sleep(after_s)
        lease.resume(MIDDLEWARE)

    def _hand_over(self, lease: KafkaLease, deliveries: list[Any]) -> None:
        try:
            self.consumer.fetched(lease, cast("list[Delivery]", deliveries))
        except Exception as error:
            lease.pause(BROKEN)
            self.fault = f"{self.topic}: {type(error).__name__}: {error}"
            _logger.error(
                "%r is paused: its consumer raised, so what it was handed stays unfinished until the partition moves",
                lease,
                exc_info=error,
            )


def specification(
    config: Any, *, topic: str, group: str, summary: str, payload: dict[str, Any], calls: CallsCollection[Any]
) -> MountedSpecification:
    """What AsyncAPI documents show of the route."""
    from faststream.kafka.schemas import Topic

    return MountedSpecification(
        config,
        KafkaSubscriberSpecificationConfig(
            topics=[Topic(topic)],
            title_=f"{topic}:{group}",
            description_=summary or None,
        ),
        calls,
        payload=payload,
    )
