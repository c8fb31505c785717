"""Mounted routes in AsyncAPI documents."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from faststream._internal.endpoint.subscriber.call_item import CallsCollection
from faststream.redis.configs import RedisBrokerConfig
from faststream.redis.schemas import StreamSub
from faststream.redis.subscriber.config import RedisSubscriberSpecificationConfig
from faststream.redis.subscriber.specification import StreamSubscriberSpecification


class MountedSpecification(StreamSubscriberSpecification):
    """A native stream subscriber's, with the schema and the description that the route was mounted with."""

    def __init__(
        self,
        outer: RedisBrokerConfig,
        config: RedisSubscriberSpecificationConfig,
        calls: CallsCollection[Any],
        stream: StreamSub,
        *,
        payload: dict[str, Any],
    ) -> None:
        super().__init__(outer, config, calls, stream)
        self._payload = payload

    @property
    def description(self) -> str | None:
        # The handler of a mounted route is ours, so its docstring says nothing about the route.
        return self.config.description_

    def get_payloads(self) -> list[tuple[dict[str, Any], str]]:
        return [(deepcopy(self._payload), self.call_name)]
