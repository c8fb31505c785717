"""Subscribers and publishers in AsyncAPI documents."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from faststream._internal.endpoint.publisher import PublisherSpecification
from faststream._internal.endpoint.subscriber import SubscriberSpecification
from faststream.specification.asyncapi.utils import resolve_payloads
from faststream.specification.schema import Message, Operation, PublisherSpec, SubscriberSpec

from adapters.bus.memory.config import (
    MemoryBrokerConfig,
    MemoryPublisherSpecificationConfig,
    MemorySubscriberSpecificationConfig,
)


class MemorySubscriberSpecification(SubscriberSpecification[MemoryBrokerConfig, MemorySubscriberSpecificationConfig]):
    """One channel an address and handler; a mounted route shows the schema that it was mounted with."""

    @property
    def topic(self) -> str:
        return f"{self._outer_config.prefix}{self.config.topic}"

    @property
    def channel_labels(self) -> list[str]:
        return [self.topic]

    @property
    def description(self) -> str | None:
        # The handler of a mounted route is ours, so its docstring says nothing about the route.
        return self.config.description_ if self.config.payload is not None else super().description

    def get_payloads(self) -> list[tuple[dict[str, Any], str]]:
        if self.config.payload is not None:
            return [(deepcopy(self.config.payload), self.call_name)]
        return super().get_payloads()

    def get_schema(self) -> dict[str, SubscriberSpec]:
        return {
            self.name: SubscriberSpec(
                address=self.topic,
                description=self.description,
                bindings=None,
                operation=Operation(
                    message=Message(title=f"{self.name}:Message", payload=resolve_payloads(self.get_payloads())),
                    bindings=None,
                ),
            )
        }


class MemoryPublisherSpecification(PublisherSpecification[MemoryBrokerConfig, MemoryPublisherSpecificationConfig]):
    """One channel a publisher."""

    @property
    def topic(self) -> str:
        return f"{self._outer_config.prefix}{self.config.topic}"

    @property
    def name(self) -> str:
        return self.config.title_ or f"{self.topic}:Publisher"

    def get_schema(self) -> dict[str, PublisherSpec]:
        payload = resolve_payloads(self.get_payloads(), "Publisher")
        return {
            self.name: PublisherSpec(
                address=self.topic,
                description=self.config.description_,
                bindings=None,
                operation=Operation(message=Message(title=f"{self.name}:Message", payload=payload), bindings=None),
            )
        }
