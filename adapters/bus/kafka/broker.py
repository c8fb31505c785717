"""FastStream's native Kafka broker, with bounded starts and stops and the runtime's routes on it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, cast

import msgspec
from aiokafka.errors import KafkaError  # type: ignore[import-untyped]
from fast_depends import Provider
from faststream._internal.broker.registrator import Registrator
from faststream._internal.context.repository import ContextRepo
from faststream._internal.parser import DefaultCodec
from faststream.kafka import KafkaBroker
from faststream.kafka.response import KafkaPublishCommand
from faststream.response.publish_type import PublishType

from adapters.bus.identity import text_headers
from adapters.bus.kafka import seams
from adapters.bus.kafka.connection import EXTRA, looked_up, security_of
from adapters.bus.kafka.limits import KafkaLimits
from adapters.bus.kafka.mounted import MountedSubscriber
from adapters.bus.kafka.producing import Producing
from adapters.bus.kafka.refusal import reason_of
from contracts.errors import Unavailable
from contracts.message import Envelope
from contracts.ports.clock import Clock

_logger = logging.getLogger("millrace.bus")

PRODUCER_BATCH_BYTES = 128 * 1024
PUBLISHING_LANES = 200
HEADERS_BYTES = 1024 * 1024  # beyond the body; whether the whole is too large is for the cluster to say


class NativeKafkaBroker(KafkaBroker):
    """One idempotent producer for everything that is published; every wait has a deadline, with the cluster gone too.

    `connected` runs as soon as there is a connection, `starting` before the first subscriber.
    """

    def __init__(
        self,
        servers: list[str],
        *,
        client_id: str,
        security: Mapping[str, Any],
        limits: KafkaLimits,
        clock: Clock,
        connected: Callable[[], Awaitable[None]],
        starting: Callable[[], Awaitable[None]],
        logger: Any,
        log_level: int,
    ) -> None:
        super().__init__(
            servers,
            client_id=client_id,
            security=security_of(security),
            acks="all",
            enable_idempotence=True,
            max_batch_size=PRODUCER_BATCH_BYTES,
            max_request_size=limits.message_bytes + HEADERS_BYTES,
            provider=Provider(),
            context=ContextRepo(),
            logger=logger,
            log_level=log_level,
            **{name: security[name] for name in EXTRA if name in security},
        )
        self._servers = servers
        self._limits = limits
        self._clock = clock
        self._connected = connected
        self._starting = starting
        self._producing = Producing(self._connection_kwargs, limits, clock, use=self._use)

    @property
    def admin(self) -> Any:
        """Raises `Unavailable` while it is not open."""
        if not self._producing.is_open:
            raise Unavailable("kafka", "the bus is not open; call `open()` (or the broker's `connect()`) first")
        return self.config.broker_config.admin_client

    def register(self, subscriber: MountedSubscriber) -> None:
        """Make a mounted route one of the native subscribers."""
        subscriber(subscriber.handed_over)
        Registrator.subscriber(self, subscriber)

    async def start(self) -> None:
        """Idempotent."""
        if self.running:
            return
        await self.connect()
        await self._starting()
        await super().start()

    async def stop(
        self,
        exc_type: type[BaseException] | None = None,
        exc_val: BaseException | None = None,
        exc_tb: TracebackType | None = None,
    ) -> None:
        """Stop every subscriber and disconnect. Idempotent."""
        try:
            # Not that of the native broker, which disconnects without a deadline.
            await super(KafkaBroker, self).stop(exc_type, exc_val, exc_tb)
        finally:
            await self._disconnect()

    async def abandon(self) -> None:
        """End everything without a word to anybody, as a process does that dies."""
        for subscriber in self.subscribers:
            if isinstance(subscriber, MountedSubscriber):
                await subscriber.abandon()
        self._connection = None
        self.running = False
        await self._producing.abandon()
        await self.config.broker_config.admin.disconnect()

    async def publish_all(self, envelopes: Sequence[Envelope]) -> None:
        """Past the codec; each through the publish middlewares, if there are any."""
        if not self.middlewares:
            await self._producing.send(envelopes)
            return
        # Those of one key one after another; the others side by side, for each is waited for.
        lanes: dict[object, list[Envelope]] = {}
        for envelope in envelopes:
            lane = envelope.id if envelope.key is None else (envelope.address, envelope.key)
            lanes.setdefault(lane, []).append(envelope)
        room = asyncio.Semaphore(PUBLISHING_LANES)
        try:
            async with asyncio.TaskGroup() as tasks:
                for lane_of_one in lanes.values():
                    tasks.create_task(self._publish_in_turn(lane_of_one, room))
        except BaseExceptionGroup as errors:
            raise _first(errors) from None

    async def _publish_in_turn(self, envelopes: Sequence[Envelope], room: asyncio.Semaphore) -> None:
        for envelope in envelopes:
            command = KafkaPublishCommand(
                envelope.body,
                topic=envelope.address,
                key=envelope.key,
                headers=dict(envelope.headers),
                correlation_id=envelope.correlation_id,
                _publish_type=PublishType.PUBLISH,
            )
            async with room:
                await self._basic_publish(command, producer=cast("Any", _EnvelopeProducer(self, envelope)))

    async def send(self, envelope: Envelope) -> None:
        """One that has been through the middlewares."""
        await self._producing.send([envelope])

    async def _connect(self) -> Any:
        config = self.config.broker_config
        try:
            await self._producing.start()
            async with self._clock.timeout(self._limits.open_wait_s):
                await config.admin.connect(**await looked_up(self._connection_kwargs))
            seams.renew_password(config.admin_client)
            await self._connected()
        except BaseException as error:
            await self._disconnect()
            if isinstance(error, KafkaError | TimeoutError | OSError):
                why = await reason_of(error, self._connection_kwargs, self._clock)
                raise Unavailable("kafka", f"{', '.join(self._servers)}: {why}") from error
            raise
        return config.builder

    async def _use(self, producer: Any) -> None:
        """What the application publishes with FastStream's own means goes the same way."""
        config = self.config.broker_config
        await config.producer.connect(
            producer,
            serializer=config.fd_config._serializer,
            codec=config.broker_codec or DefaultCodec(),
        )

    async def _disconnect(self) -> None:
        self._connection = None
        await self._producing.stop()
        try:
            async with self._clock.timeout(self._limits.close_wait_s):
                await self.config.broker_config.admin.disconnect()
        except (KafkaError, TimeoutError, OSError) as error:
            _logger.warning("the admin client did not end in order: %s", error or "no answer")


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


class _EnvelopeProducer:
    """The end of the way through the publish middlewares: what they made of it is sent, as an envelope."""

    def __init__(self, broker: NativeKafkaBroker, envelope: Envelope) -> None:
        self._broker = broker
        self._envelope = envelope

    async def publish(self, cmd: KafkaPublishCommand) -> None:
        body, _ = await DefaultCodec().encode(cmd.body, None)
        key = cmd.key.decode(errors="replace") if isinstance(cmd.key, bytes) else cmd.key
        await self._broker.send(
            msgspec.structs.replace(
                self._envelope, body=body, headers=text_headers(cmd.headers), address=cmd.destination, key=key
            )
        )
