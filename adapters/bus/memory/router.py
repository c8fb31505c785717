"""Routers: subscribers and publishers under a prefix, to be included in a broker."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from faststream._internal.broker.router import ArgsContainer, BrokerRouter, SubscriberRoute
from faststream._internal.constants import EMPTY
from faststream.middlewares import AckPolicy

from adapters.bus.memory.config import MemoryBrokerConfig
from adapters.bus.memory.message import Received
from adapters.bus.memory.registrator import MemoryRegistrator

MemoryRoute = SubscriberRoute
"""A handler with the arguments of `subscriber`, for a router's `handlers`."""

MemoryRoutePublisher = ArgsContainer
"""The arguments of `publisher`, for a route's `publishers`."""


class MemoryRouter(MemoryRegistrator, BrokerRouter[Received, MemoryBrokerConfig]):
    """Declares without a broker; included in one, its addresses get the prefix."""

    def __init__(
        self,
        prefix: str = "",
        handlers: Iterable[SubscriberRoute] = (),
        *,
        dependencies: Sequence[Any] = (),
        middlewares: Sequence[Any] = (),
        routers: Iterable[MemoryRegistrator] = (),
        parser: Any = None,
        decoder: Any = None,
        codec: Any = None,
        ack_policy: AckPolicy = EMPTY,
        include_in_schema: bool | None = None,
    ) -> None:
        super().__init__(
            handlers=handlers,
            routers=routers,
            config=MemoryBrokerConfig(
                prefix=prefix,
                broker_dependencies=dependencies,
                broker_middlewares=middlewares,
                broker_parser=parser,
                broker_decoder=decoder,
                broker_codec=codec,
                ack_policy=ack_policy,
                include_in_schema=include_in_schema,
            ),
        )
