"""`subscriber` and `publisher`: what brokers and routers share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from faststream._internal.broker.registrator import Registrator
from faststream._internal.constants import EMPTY
from faststream._internal.endpoint.subscriber.call_item import CallsCollection
from faststream.middlewares import AckPolicy

from adapters.bus.memory.config import (
    MemoryBrokerConfig,
    MemoryPublisherConfig,
    MemoryPublisherSpecificationConfig,
    MemorySubscriberConfig,
    MemorySubscriberSpecificationConfig,
)
from adapters.bus.memory.message import Received, Redelivery
from adapters.bus.memory.mounted import MountedSubscriber
from adapters.bus.memory.publisher import MemoryPublisher
from adapters.bus.memory.specification import MemoryPublisherSpecification, MemorySubscriberSpecification
from adapters.bus.memory.subscriber import MemorySubscriber

DEFAULT_GROUP = "default"


class MemoryRegistrator(Registrator[Received, MemoryBrokerConfig]):
    """Registers subscribers and publishers on the memory broker or one of its routers."""

    def subscriber(  # type: ignore[override]  # every FastStream broker has its own arguments here
        self,
        topic: str,
        *,
        group: str = DEFAULT_GROUP,
        partitions: int | None = None,
        max_workers: int = 1,
        redelivery: Redelivery | None = None,
        ack_policy: AckPolicy = EMPTY,
        no_reply: bool = False,
        dependencies: Sequence[Any] = (),
        parser: Any = None,
        decoder: Any = None,
        codec: Any = None,
        persistent: bool = True,
        title: str | None = None,
        description: str | None = None,
        include_in_schema: bool = True,
    ) -> MemorySubscriber:
        """Handle the messages of `topic`, sharing them with the other members of `group`.

        `partitions` is what the address is made with (8 unless said). A handler that fails, or nacks, gets its
        message again as `redelivery` says and then no more: it is buried in the log's `dead`.
        """
        if max_workers < 1:
            raise ValueError(f"max_workers={max_workers}: at least 1 is needed")
        calls: CallsCollection[Received] = CallsCollection()
        subscriber = MemorySubscriber(
            MemorySubscriberConfig(
                topic=topic,
                group=group,
                partitions=partitions,
                max_workers=max_workers,
                redelivery=redelivery or Redelivery(),
                no_reply=no_reply,
                _outer_config=self.config,  # type: ignore[arg-type]  # a composition of configs behaves as one
                _ack_policy=ack_policy,
            ),
            MemorySubscriberSpecification(
                self.config,  # type: ignore[arg-type]
                MemorySubscriberSpecificationConfig(
                    topic=topic,
                    group=group,
                    title_=title,
                    description_=description,
                    include_in_schema=include_in_schema,
                ),
                calls,
            ),
            calls,
        )
        super().subscriber(subscriber, persistent=persistent)
        return subscriber.add_call(
            parser_=parser or self._parser,
            decoder_=decoder or self._decoder,
            codec_=codec,
            dependencies_=dependencies,
        )

    def register(self, subscriber: MountedSubscriber) -> None:
        """Make a mounted route one of the native subscribers."""
        subscriber(subscriber.handed_over)
        super().subscriber(subscriber)

    def publisher(  # type: ignore[override]  # every FastStream broker has its own arguments here
        self,
        topic: str,
        *,
        headers: dict[str, Any] | None = None,
        reply_to: str = "",
        persistent: bool = True,
        title: str | None = None,
        description: str | None = None,
        schema: Any = None,
        include_in_schema: bool = True,
    ) -> MemoryPublisher:
        """Publish to `topic`: as a decorator what a handler returns, as an object what it is given."""
        publisher = MemoryPublisher(
            MemoryPublisherConfig(
                topic=topic,
                headers=headers or {},
                reply_to=reply_to,
                _outer_config=self.config,  # type: ignore[arg-type]
            ),
            MemoryPublisherSpecification(
                self.config,  # type: ignore[arg-type]
                MemoryPublisherSpecificationConfig(
                    topic=topic,
                    schema_=schema,
                    title_=title,
                    description_=description,
                    include_in_schema=include_in_schema,
                ),
            ),
        )
        super().publisher(publisher, persistent=persistent)
        return publisher
