"""FastStream's Prometheus middleware for the memory broker; imported only by who wants it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from faststream._internal.constants import EMPTY
from faststream.message import StreamMessage
from faststream.prometheus import ConsumeAttrs, PrometheusMiddleware
from faststream.response import PublishCommand

from adapters.bus.memory.command import MemoryPublishCommand
from adapters.bus.memory.message import Received

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry


class MemoryPrometheusMiddleware(PrometheusMiddleware[Received, MemoryPublishCommand]):
    """Counts what native subscribers, mounted routes and publishers do, under the names that FastStream's have."""

    def __init__(
        self,
        *,
        registry: CollectorRegistry,
        app_name: str = EMPTY,
        metrics_prefix: str = "faststream",
        received_messages_size_buckets: Sequence[float] | None = None,
        custom_labels: dict[str, str | Callable[[Any], str]] | None = None,
    ) -> None:
        super().__init__(
            settings_provider_factory=lambda _: MemoryMetricsSettings(),
            registry=registry,
            app_name=app_name,
            metrics_prefix=metrics_prefix,
            received_messages_size_buckets=received_messages_size_buckets,
            custom_labels=custom_labels,
        )


class MemoryMetricsSettings:
    """What FastStream's metrics need to know of a message of the memory bus."""

    messaging_system = "memory"

    def get_consume_attrs_from_message(self, msg: StreamMessage[Received]) -> ConsumeAttrs:
        return {
            "destination_name": msg.raw_message.delivery.partition.address,
            "message_size": len(msg.body),
            "messages_count": 1,
        }

    def get_publish_destination_name_from_cmd(self, cmd: PublishCommand) -> str:
        return cmd.destination
