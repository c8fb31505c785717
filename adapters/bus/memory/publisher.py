"""Native publishers: the decorator, the object, and the one that answers requests."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from faststream._internal.endpoint.publisher import PublisherSpecification, PublisherUsecase
from faststream._internal.endpoint.publisher.fake import FakePublisher
from faststream.message import StreamMessage
from faststream.response.publish_type import PublishType
from faststream.response.response import PublishCommand

from adapters.bus.memory.command import MemoryPublishCommand
from adapters.bus.memory.config import MemoryPublisherConfig


class MemoryPublisher(PublisherUsecase):
    """Publishes to one address."""

    def __init__(self, config: MemoryPublisherConfig, specification: PublisherSpecification[Any, Any]) -> None:
        super().__init__(config, specification)
        self._topic = config.topic
        self._headers = config.headers
        self._reply_to = config.reply_to

    @property
    def topic(self) -> str:
        return f"{self._outer_config.prefix}{self._topic}"

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
        """As the broker's `publish`, to this publisher's address unless another is given."""
        command = self._command(message, topic, PublishType.PUBLISH, key, headers, correlation_id)
        command.reply_to = reply_to or self._reply_to
        command.not_before = not_before
        await self._basic_publish(command, producer=self._outer_config.producer, _extra_middlewares=())

    async def request(
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
        command = self._command(message, topic, PublishType.REQUEST, key, headers, correlation_id)
        command.timeout_s = timeout
        answer: StreamMessage[Any] = await self._basic_request(command, producer=self._outer_config.producer)
        return answer

    async def _publish(self, cmd: PublishCommand, *, _extra_middlewares: Iterable[Any]) -> None:
        command = MemoryPublishCommand.from_cmd(cmd)
        command.destination = self.topic
        command.reply_to = self._reply_to
        command.add_headers(self._headers, override=False)
        await self._basic_publish(command, producer=self._outer_config.producer, _extra_middlewares=_extra_middlewares)

    def _command(
        self,
        message: Any,
        topic: str,
        publish_type: PublishType,
        key: str | None,
        headers: dict[str, Any] | None,
        correlation_id: str | None,
    ) -> MemoryPublishCommand:
        return MemoryPublishCommand(
            message,
            _publish_type=publish_type,
            destination=topic or self.topic,
            key=key,
            headers=self._headers | (headers or {}),
            correlation_id=correlation_id or self._outer_config.id_generator(),
        )


class MemoryAnswer(FakePublisher):
    """Publishes what a handler returned to where the asker waits."""

    def __init__(self, *, producer: Any, topic: str) -> None:
        super().__init__(producer=producer)
        self._topic = topic

    def patch_command(self, cmd: PublishCommand) -> MemoryPublishCommand:
        command = MemoryPublishCommand.from_cmd(super().patch_command(cmd))
        command.destination = self._topic
        return command
