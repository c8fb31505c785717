"""A record of a mounted route as FastStream's middlewares see it."""

from __future__ import annotations

from typing import Any

import msgspec
from faststream.kafka.message import FAKE_CONSUMER, KafkaMessage
from faststream.message import StreamMessage

from adapters.bus.kafka.delivery import KafkaDelivery
from adapters.bus.kafka.lease import KafkaLease
from contracts.message import Delivery


class Passing:
    """A delivery on its way through the middlewares; it looks like aiokafka's record, for theirs do look at that."""

    def __init__(self, delivery: KafkaDelivery, lease: KafkaLease) -> None:
        self.delivery = delivery
        self.lease = lease
        self.settled = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.delivery.raw, name)


async def parse(passing: Passing) -> StreamMessage[Any]:
    """Whatever the record is; its acks do nothing, since the runtime settles."""
    envelope = passing.delivery.envelope
    headers = dict(envelope.headers)
    return KafkaMessage(
        raw_message=passing,
        body=envelope.body,
        headers=headers,
        reply_to=headers.get("reply_to", ""),
        content_type=headers.get("content-type"),
        message_id=envelope.id,
        correlation_id=envelope.correlation_id,
        consumer=FAKE_CONSUMER,
    )


async def undecoded(message: StreamMessage[Any]) -> StreamMessage[Any]:
    """The runtime decodes, by the route's contract."""
    return message


def as_seen(message: StreamMessage[Any]) -> Delivery | KafkaDelivery:
    """The delivery with what middlewares made of its body and headers."""
    delivery: KafkaDelivery = message.raw_message.delivery
    envelope = delivery.envelope
    if message.body is envelope.body and message.headers == envelope.headers:
        return delivery
    seen = msgspec.structs.replace(envelope, body=message.body, headers=message.headers)
    return Delivery(seen, delivery.partition, delivery.position)
