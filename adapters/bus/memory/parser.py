"""Received messages as FastStream messages, and back into Python values."""

from __future__ import annotations

from typing import Any

from faststream.message import StreamMessage, decode_message

from adapters.bus.memory.message import MemoryMessage, Received

REPLY_TO = "reply-to"
CONTENT_TYPE = "content-type"


class MemoryParser:
    """The default parser and decoder; an application may wrap either, as on every FastStream broker."""

    async def parse_message(self, message: Received) -> MemoryMessage:
        envelope = message.delivery.envelope
        headers = dict(envelope.headers)
        return MemoryMessage(
            raw_message=message,
            body=envelope.body,
            headers=headers,
            reply_to=headers.get(REPLY_TO, ""),
            content_type=headers.get(CONTENT_TYPE),
            message_id=envelope.id,
            correlation_id=envelope.correlation_id,
        )

    async def decode_message(self, msg: StreamMessage[Any]) -> Any:
        return decode_message(msg)
