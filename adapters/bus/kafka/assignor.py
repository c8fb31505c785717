"""`sharing` as the group protocol that aiokafka speaks for us."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata  # type: ignore[import-untyped]

from adapters.bus.kafka.sharing import Claim, shared

PROTOCOL = "millrace-cooperative"
"""Its name in the group: members that speak another protocol are refused by Kafka."""

_VERSION = 0
_logger = logging.getLogger("millrace.bus")


class CooperativeAssignor:
    """One per consumer, since it knows what this member holds: `claim` is asked at each attempt to join."""

    name = PROTOCOL

    def __init__(self, topic: str, claim: Callable[[], Claim]) -> None:
        self._topic = topic
        self._claim = claim

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        return ConsumerProtocolMemberMetadata(_VERSION, list(topics), msgspec.json.encode(self._claim()))

    def assign(self, cluster: Any, members: Mapping[str, Any]) -> dict[str, ConsumerProtocolMemberAssignment]:
        partitions = len(cluster.partitions_for_topic(self._topic) or ())
        given = shared(partitions, {name: _claim_of(name, metadata) for name, metadata in members.items()})
        return {
            name: ConsumerProtocolMemberAssignment(_VERSION, [(self._topic, indices)], b"")
            for name, indices in given.items()
        }

    def on_assignment(self, assignment: Any) -> None:
        """The listener does what there is to do."""


def _claim_of(name: str, metadata: Any) -> Claim:
    try:
        return msgspec.json.decode(metadata.user_data or b"[]", type=Claim)
    except msgspec.MsgspecError as error:
        _logger.error("member %s says what it holds in a way that can't be read (%s): it is given up", name, error)
        return Claim()
