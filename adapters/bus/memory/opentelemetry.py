"""FastStream's OpenTelemetry middleware for the memory broker; imported only by who wants it.

It needs `opentelemetry-sdk` (FastStream's extra `otel`), which Millrace does not bring.
"""

from __future__ import annotations

from typing import Any

from faststream.message import StreamMessage
from faststream.opentelemetry import TelemetryMiddleware

from adapters.bus.memory.command import MemoryPublishCommand
from adapters.bus.memory.message import Received


class MemoryTelemetryMiddleware(TelemetryMiddleware[MemoryPublishCommand]):
    """Spans of what is published and handled; the trace travels in the headers of the messages."""

    def __init__(
        self,
        *,
        tracer_provider: Any = None,
        meter_provider: Any = None,
        meter: Any = None,
        include_messages_counters: bool = True,
    ) -> None:
        super().__init__(
            settings_provider_factory=lambda _: MemoryTelemetrySettings(),
            tracer_provider=tracer_provider,
            meter_provider=meter_provider,
            meter=meter,
            include_messages_counters=include_messages_counters,
        )


class MemoryTelemetrySettings:
    """What spans say of a message of the memory bus, in OpenTelemetry's names."""

    messaging_system = "memory"

    def get_consume_attrs_from_message(self, msg: StreamMessage[Received]) -> dict[str, Any]:
        delivery = msg.raw_message.delivery
        return {
            "messaging.system": self.messaging_system,
            "messaging.message.id": msg.message_id,
            "messaging.message.conversation_id": msg.correlation_id,
            "messaging.message.payload_size_bytes": len(msg.body),
            "messaging.destination_publish.name": delivery.partition.address,
            "messaging.destination.partition.id": str(delivery.partition.index),
        }

    def get_consume_destination_name(self, msg: StreamMessage[Received]) -> str:
        return msg.raw_message.delivery.partition.address

    def get_publish_attrs_from_cmd(self, cmd: MemoryPublishCommand) -> dict[str, Any]:
        return {
            "messaging.system": self.messaging_system,
            "messaging.destination.name": cmd.destination,
            "messaging.message.conversation_id": cmd.correlation_id or "",
        }

    def get_publish_destination_name(self, cmd: MemoryPublishCommand) -> str:
        return cmd.destination
