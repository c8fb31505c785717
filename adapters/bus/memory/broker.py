"""The memory broker: native FastStream, over a log that several brokers of a process may share."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any

from fast_depends import Provider
from faststream._internal.broker import BrokerUsecase
from faststream._internal.constants import EMPTY
from faststream._internal.context.repository import ContextRepo
from faststream._internal.di import FastDependsConfig
from faststream._internal.logger import make_logger_state
from faststream.message import StreamMessage
from faststream.middlewares import AckPolicy
from faststream.response.publish_type import PublishType
from faststream.specification.schema import BrokerSpec

from adapters.bus.memory.command import MemoryPublishCommand
from adapters.bus.memory.config import MemoryBrokerConfig
from adapters.bus.memory.log import DeadLetter, MemoryLog
from adapters.bus.memory.logger import MemoryLoggerStorage
from adapters.bus.memory.message import Received
from adapters.bus.memory.mounted import MountedSubscriber
from adapters.bus.memory.producer import MemoryProducer
from adapters.bus.memory.registrator import MemoryRegistrator
from adapters.bus.memory.subscriber import MemorySubscriber
from adapters.bus.owned import OwnedTasks
from adapters.bus.wire import CORRELATION
from contracts.message import Envelope


class MemoryBroker(MemoryRegistrator, BrokerUsecase[Received, MemoryLog, MemoryBrokerConfig]):
    """Publishes to and subscribes to a `MemoryLog`; nothing leaves the process, nothing survives it."""

    def __init__(
        self,
        log: MemoryLog,
        *,
        graceful_timeout: float | None = 15.0,
        parser: Any = None,
        decoder: Any = None,
        codec: Any = None,
        dependencies: Sequence[Any] = (),
        middlewares: Sequence[Any] = (),
        routers: Iterable[MemoryRegistrator] = (),
        ack_policy: AckPolicy = EMPTY,
        serializer: Any = EMPTY,
        provider: Provider | None = None,
        context: ContextRepo | None = None,
        apply_types: bool = True,
        logger: Any = EMPTY,
        log_level: int = logging.INFO,
        description: str | None = None,
        tags: Iterable[Any] = (),
    ) -> None:
        self.log = log
        self._timekeeper = OwnedTasks("memory broker")
        self._memory_producer = MemoryProducer(parser, decoder)
        super().__init__(
            routers=routers,
            config=MemoryBrokerConfig(
                log=log,
                producer=self._memory_producer,
                id_generator=log.clock.new_id,
                broker_parser=parser,
                broker_decoder=decoder,
                broker_codec=codec,
                broker_dependencies=dependencies,
                broker_middlewares=middlewares,
                graceful_timeout=graceful_timeout,
                ack_policy=ack_policy,
                logger=make_logger_state(logger=logger, log_level=log_level, default_storage_cls=MemoryLoggerStorage),
                fd_config=FastDependsConfig(
                    use_fastdepends=apply_types,
                    serializer=serializer,
                    provider=provider or Provider(),
                    context=context or ContextRepo(),
                ),
                extra_context={"broker": self},
            ),
            specification=BrokerSpec(
                url=["memory://in-process"],
                protocol="memory",
                protocol_version="1",
                description=description,
                tags=tags,
                security=None,
            ),
        )

    @property
    def dead_letters(self) -> Sequence[DeadLetter]:
        """What subscribers gave up, oldest first."""
        return tuple(self.log.dead)

    @property
    def memory_subscribers(self) -> Sequence[MemorySubscriber | MountedSubscriber]:
        """All subscribers, routers' included, as what they are here."""
        return [each for each in self.subscribers if isinstance(each, MemorySubscriber | MountedSubscriber)]

    async def start(self) -> None:
        """Begin to consume. Every group has its place before the first message is handled. Idempotent."""
        await self.connect()
        for subscriber in self.memory_subscribers:
            subscriber.claim()
        await super().start()

    async def stop(
        self,
        exc_type: type[BaseException] | None = None,
        exc_val: BaseException | None = None,
        exc_tb: TracebackType | None = None,
    ) -> None:
        """Stop every subscriber and disconnect; what is not settled stays in the log. Idempotent."""
        try:
            await super().stop(exc_type, exc_val, exc_tb)
        finally:
            await self._timekeeper.close()
            self._memory_producer.disconnect()
            self._connection = None

    async def ping(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109 - FastStream's own signature
        return self._connection is not None

    async def publish(
        self,
        message: Any = None,
        topic: str = "",
        *,
        key: str | None = None,
        headers: dict[str, Any] | None = None,
        correlation_id: str | None = None,
        reply_to: str = "",
        not_before: datetime | None = None,
    ) -> None:
        """Encode and keep the message. Raises `Transient` when the address is full, `Unavailable` when not connected.

        The headers that `adapters.bus.wire` names say who it is, as they do in messages of other buses; a correlation
        id that is not safe in logs is replaced.
        """
        await self._basic_publish(
            MemoryPublishCommand(
                message,
                _publish_type=PublishType.PUBLISH,
                destination=topic,
                key=key,
                headers=headers,
                correlation_id=correlation_id or (headers or {}).get(CORRELATION) or self.config.id_generator(),
                reply_to=reply_to,
                not_before=not_before,
            ),
            producer=self.config.producer,
        )

    async def publish_envelope(self, envelope: Envelope) -> None:
        """Keep the envelope as it is, past the codec; it goes through publish middlewares if there are any."""
        if not self.middlewares:
            await self._memory_producer.log.publish(envelope)
            return
        await self._basic_publish(
            MemoryPublishCommand(
                envelope.body,
                _publish_type=PublishType.PUBLISH,
                destination=envelope.address,
                key=envelope.key,
                headers=dict(envelope.headers),
                correlation_id=envelope.correlation_id,
                not_before=envelope.not_before,
                envelope=envelope,
            ),
            producer=self.config.producer,
        )

    async def request(  # type: ignore[override]  # every FastStream broker has its own arguments here
        self,
        message: Any = None,
        topic: str = "",
        *,
        key: str | None = None,
        headers: dict[str, Any] | None = None,
        correlation_id: str | None = None,
        timeout: float = 0.5,  # noqa: ASYNC109 - FastStream's own signature
    ) -> StreamMessage[Any]:
        """Publish and wait for the answer; raises `TimeoutError`."""
        answer: StreamMessage[Any] = await self._basic_request(
            MemoryPublishCommand(
                message,
                _publish_type=PublishType.REQUEST,
                destination=topic,
                key=key,
                headers=headers,
                correlation_id=correlation_id or (headers or {}).get(CORRELATION) or self.config.id_generator(),
                timeout_s=timeout,
            ),
            producer=self.config.producer,
        )
        return answer

    async def _connect(self) -> MemoryLog:
        config = self.config.broker_config
        self._memory_producer.connect(self.log, config.fd_config._serializer, config.broker_codec)
        self._timekeeper.start(self.log.keep_time(), "keep time")
        return self.log
