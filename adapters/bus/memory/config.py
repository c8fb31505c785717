"""What the parts of the memory broker are made with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from faststream._internal.configs import (
    BrokerConfig,
    PublisherSpecificationConfig,
    PublisherUsecaseConfig,
    SubscriberSpecificationConfig,
    SubscriberUsecaseConfig,
)
from faststream._internal.constants import EMPTY
from faststream.exceptions import SetupError
from faststream.middlewares import AckPolicy

from adapters.bus.memory.log import MemoryLog
from adapters.bus.memory.message import Redelivery


@dataclass(kw_only=True)
class MemoryBrokerConfig(BrokerConfig):
    """A broker's, or a router's (which has no log of its own)."""

    log: MemoryLog | None = None


def log_of(config: BrokerConfig) -> MemoryLog:
    """The log of the broker that an endpoint belongs to; raises `SetupError` when it belongs to none yet."""
    log: MemoryLog | None = getattr(config, "log", None)
    if log is None:
        raise SetupError("the router is not included in a memory broker: call `broker.include_router(router)` first")
    return log


@dataclass(kw_only=True)
class MemorySubscriberConfig(SubscriberUsecaseConfig):
    """A native subscriber's."""

    topic: str
    group: str
    partitions: int | None = None
    max_workers: int = 1
    redelivery: Redelivery = field(default_factory=Redelivery)

    @property
    def ack_policy(self) -> AckPolicy:
        """`NACK_ON_ERROR` unless said otherwise: here a refused message has a back-off and a cap, so it is safe."""
        for policy in (self._ack_policy, self._outer_config.ack_policy):
            if policy is not EMPTY:
                return policy
        return AckPolicy.NACK_ON_ERROR


@dataclass(kw_only=True)
class MemorySubscriberSpecificationConfig(SubscriberSpecificationConfig):
    """What documents need to know of a subscriber; `payload` is given for mounted routes."""

    topic: str
    group: str
    payload: dict[str, Any] | None = None


@dataclass(kw_only=True)
class MemoryPublisherConfig(PublisherUsecaseConfig):
    """A publisher's."""

    topic: str
    headers: dict[str, Any] = field(default_factory=dict)
    reply_to: str = ""


@dataclass(kw_only=True)
class MemoryPublisherSpecificationConfig(PublisherSpecificationConfig):
    """What documents need to know of a publisher."""

    topic: str
