"""An entry as FastStream's middlewares see it, and an envelope on its way through publish middlewares."""

from __future__ import annotations

from typing import Any

import msgspec
from faststream.message import StreamMessage
from faststream.redis.publisher.producer import RedisFastProducer
from faststream.redis.response import RedisPublishCommand
from faststream.response.publish_type import PublishType

from adapters.bus.identity import text_headers
from adapters.bus.redis_stream.keys import id_of
from adapters.bus.redis_stream.lease import Lease
from adapters.bus.redis_stream.publishing import Publisher
from contracts.message import Delivery, Envelope


class Received(dict[str, Any]):
    """The raw message, with what FastStream's own middlewares (metrics, tracing) look for in one of a stream."""

    def __init__(self, delivery: Delivery, lease: Lease) -> None:
        super().__init__(
            type="stream",
            channel=delivery.envelope.address,
            message_ids=[id_of(delivery.position).encode()],
            data={b"body": delivery.envelope.body},
        )
        self.delivery = delivery
        self.lease = lease
        self.reached = False
        """It came through all middlewares."""


async def parsed(received: Received) -> StreamMessage[Received]:
    """Our parser."""
    envelope = received.delivery.envelope
    headers = dict(envelope.headers)
    return StreamMessage(
        raw_message=received,
        body=envelope.body,
        headers=headers,
        content_type=headers.get("content-type"),
        message_id=envelope.id,
        correlation_id=envelope.correlation_id,
    )


async def undecoded(message: StreamMessage[Any]) -> Any:
    """Our decoder: the runtime decodes by the route's contract."""
    return message


def as_seen(message: StreamMessage[Received]) -> Delivery:
    """The delivery with what middlewares made of its body and headers."""
    delivery = message.raw_message.delivery
    envelope = delivery.envelope
    if message.body is envelope.body and message.headers == envelope.headers:
        return delivery
    seen = msgspec.structs.replace(envelope, body=message.body, headers=text_headers(message.headers))
    return Delivery(seen, delivery.partition, delivery.position, delivery.deliveries)


class EnvelopeCommand(RedisPublishCommand):
    """A publish command that remembers its envelope."""

    envelope: Envelope

    @classmethod
    def of(cls, envelope: Envelope) -> EnvelopeCommand:
        command = cls(
            envelope.body,
            _publish_type=PublishType.PUBLISH,
            stream=envelope.address,
            headers=dict(envelope.headers),
            correlation_id=envelope.correlation_id,
        )
        command.envelope = envelope
        return command


class EnvelopeProducer(RedisFastProducer):
    """What stands at the end of the publish middlewares for our envelopes: the publisher of the bus."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    async def publish(self, cmd: RedisPublishCommand) -> bytes:
        assert isinstance(cmd, EnvelopeCommand)
        body = cmd.body if isinstance(cmd.body, bytes) else str(cmd.body).encode()
        await self._publisher.publish(
            [
                msgspec.structs.replace(
                    cmd.envelope, address=cmd.destination, body=body, headers=text_headers(cmd.headers)
                )
            ]
        )
        return b""
