"""Where a partition stands: what its group has committed, and what there is of it."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any

import msgspec
from aiokafka.errors import KafkaError  # type: ignore[import-untyped]
from aiokafka.structs import OffsetAndMetadata, TopicPartition  # type: ignore[import-untyped]

from adapters.bus.expired import decided
from adapters.bus.kafka import topics
from contracts.errors import Faults
from contracts.module import Route

_logger = logging.getLogger("millrace.bus")


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A partition as it is now: `begin` is where its group stands, else the first message that there is."""

    incarnation: str
    first: int
    end: int
    begin: int


class Note(msgspec.Struct, frozen=True, omit_defaults=True):
    """What stands beside each committed position."""

    ledger: str = ""
    topic: str = ""


def note_of(ledger: str, incarnation: str) -> str:
    """What is committed beside each position."""
    return msgspec.json.encode(Note(ledger, incarnation)).decode()


def noted(text: str) -> Note:
    """Of a position that something else has committed it says nothing."""
    try:
        return msgspec.json.decode(text or "{}", type=Note)
    except msgspec.MsgspecError:
        return Note()


async def committed_by(admin: Any, group: str) -> dict[TopicPartition, OffsetAndMetadata]:
    """What the group has committed. Raises `KafkaError`."""
    offsets: Mapping[TopicPartition, OffsetAndMetadata] = await admin.list_consumer_group_offsets(group)
    return {tp: offset for tp, offset in offsets.items() if offset.offset >= 0}


def refuse_another_ledger(committed: Mapping[TopicPartition, OffsetAndMetadata], *, group: str, ledger: str) -> None:
    """Raises `Faults`: two ledgers behind one group would each know half of what was done."""
    others = sorted({noted(offset.metadata).ledger for offset in committed.values()} - {"", ledger})
    if ledger and others:
        raise Faults(
            f"consumer group {group}",
            [
                f"it is kept with ledger {', '.join(others)}, and this worker has ledger {ledger}: give it the "
                "database of the others, another group name, or delete the group's offsets to begin anew"
            ],
        )


async def look_up(
    admin: Any, client: Any, topic: str, indices: Collection[int], *, group: str, ledger: str
) -> dict[int, Place]:
    """Of each of these partitions. Raises `KafkaError` when the cluster can't say, and as `refuse_another_ledger`."""
    incarnation = await topics.topic_id(admin, topic)
    committed = await committed_by(admin, group)
    refuse_another_ledger(committed, group=group, ledger=ledger)
    tps = [TopicPartition(topic, index) for index in indices]
    first, end = await client.beginning_offsets(tps), await client.end_offsets(tps)
    places = {}
    for tp in tps:
        begin = first[tp]
        if (offset := committed.get(tp)) is not None:
            if noted(offset.metadata).topic not in ("", incarnation):
                _logger.warning("%s was made anew: what group %s had committed of it does not count", topic, group)
            else:
                begin = offset.offset
        places[tp.partition] = Place(incarnation=incarnation, first=first[tp], end=end[tp], begin=begin)
    return places


def starting_point(place: Place, position: int | None, *, name: str, route: Route) -> int:
    """Where to begin when the owner wants `position`. Raises `KafkaError` for one that the partition doesn't reach,
    `Conflict` for one that has expired where that is not to be passed over."""
    wanted = place.begin if position is None else position
    if wanted > place.end:
        raise KafkaError(
            f"{name} ends at {place.end}, and its messages up to {wanted} are said to be finished: it was cut short "
            "or restored. Put right the group's offset (kafka-consumer-groups --reset-offsets) or the ledger's position"
        )
    if wanted < place.first:
        gone = (
            f"{name}: {place.first - wanted} messages from {wanted} on were deleted by the topic's retention "
            "before they were handled"
        )
        if decided(gone, route, stored=bool(position)) == "latest":
            return place.end
    return max(wanted, place.first)
