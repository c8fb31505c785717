"""Topics: looked up without making them, made as routes declare them, named by the id that Kafka gave them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from typing import Any, ClassVar
from uuid import UUID

import msgspec
from aiokafka.errors import IncompatibleBrokerVersion, KafkaError, for_code  # type: ignore[import-untyped]
from aiokafka.protocol.api import Request, RequestStruct, Response  # type: ignore[import-untyped]
from aiokafka.protocol.types import (  # type: ignore[import-untyped]
    AbstractType,
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

from adapters.bus.kafka import seams
from contracts.errors import Faults
from contracts.ports.clock import Clock

_logger = logging.getLogger("millrace.bus")

EXISTS = 36
UNKNOWN = 3
NOT_TO_BE_HAD = (UNKNOWN, 17, 29)
"""There is none, there can be none of that name, or this user may not see it."""
RETRY_S = 0.1


class _Uuid(AbstractType):  # type: ignore[misc]  # aiokafka has no types
    @classmethod
    def encode(cls, value: UUID) -> bytes:
        return value.bytes

    @classmethod
    def decode(cls, data: BytesIO) -> UUID:
        return UUID(bytes=data.read(16))


class _MetadataAnswer(Response):  # type: ignore[misc]
    """https://kafka.apache.org/protocol.html#The_Messages_Metadata, version 10: the first with topic ids."""

    API_KEY = 3
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString("utf-8")),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("index", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("authorized_operations", Int32),
        ("tags", TaggedFields),
    )


class _MetadataAsked(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION: ClassVar[bool] = True
    API_KEY = 3
    API_VERSION = 10
    RESPONSE_TYPE = _MetadataAnswer
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(("topic_id", _Uuid), ("name", CompactString("utf-8")), ("tags", TaggedFields)),
        ),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _TopicIds(Request[_MetadataAsked]):  # type: ignore[misc]
    API_KEY = 3

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def build(self, request_struct_class: type[_MetadataAsked]) -> _MetadataAsked:
        topics: list[tuple[UUID, str, dict[int, bytes]]] = [(UUID(int=0), name, {}) for name in self._names]
        return request_struct_class(topics, False, False, False, {})


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """What the cluster says of a topic; `partitions` are those that have a leader."""

    id: str
    partitions: int
    declared: int


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """What a route wants its topic to be made with."""

    name: str
    partitions: int
    retention_s: float

    @property
    def settings(self) -> dict[str, str]:
        return {"retention.ms": str(int(self.retention_s * 1000))}


class _NewTopic(msgspec.Struct, kw_only=True):
    """aiokafka's `NewTopic`, which does not let the cluster choose how many replicas."""

    name: str
    num_partitions: int
    replication_factor: int = -1
    replica_assignments: dict[int, list[int]] = {}
    topic_configs: dict[str, str]


async def look_up(admin: Any, names: Sequence[str]) -> dict[str, Topic]:
    """Those that exist; nothing is made by asking. Raises `KafkaError`."""
    found = {}
    for code, name, topic_id, _, partitions, *_ in (await seams.ask(admin, _TopicIds(names))).topics:
        if code in NOT_TO_BE_HAD:
            continue
        if code:
            raise for_code(code)(name)
        led = sum(1 for one in partitions if one[2] >= 0)
        found[name] = Topic(id=topic_id.hex, partitions=led, declared=len(partitions))
    return found


async def topic_id(admin: Any, name: str) -> str:
    """Empty when the cluster is too old to say (before Kafka 2.8); raises `KafkaError` when there is no such topic."""
    try:
        topics = await look_up(admin, [name])
    except (IncompatibleBrokerVersion, NotImplementedError):
        return ""
    if name not in topics:
        raise for_code(UNKNOWN)(name)
    return topics[name].id


async def make(admin: Any, declared: Iterable[Declared], clock: Clock) -> None:
    """Returns when all of them exist and can be used; the caller has a deadline.

    One that exists is left as it is. Raises `Faults` with a line for each that doesn't and that may not be made,
    `Unavailable` when the cluster does not get them ready in time.
    """
    wanted = {one.name: one for one in declared}
    if not wanted:
        return
    existing = await look_up(admin, list(wanted))
    for name, topic in existing.items():
        if topic.declared != wanted[name].partitions:
            _logger.warning(
                "topic %s has %d partitions, declared are %d: it is taken as it is",
                name,
                topic.declared,
                wanted[name].partitions,
            )
    missing = [one for name, one in wanted.items() if name not in existing]
    if missing:
        await _create(admin, missing)
        await _ready(admin, {one.name: one for one in missing}, clock)


async def _create(admin: Any, missing: Sequence[Declared]) -> None:
    asked = [_NewTopic(name=one.name, num_partitions=one.partitions, topic_configs=one.settings) for one in missing]
    try:
        answer = await admin.create_topics(asked)
    except KafkaError as error:
        refused: Mapping[str, str] = {one.name: str(error) or type(error).__name__ for one in missing}
    else:
        refused = {
            name: f"{for_code(code).__name__}{f': {text}' if text else ''}"
            for name, code, text in (entry[:3] for entry in answer.topic_errors)
            if code not in (0, EXISTS)
        }
    if refused:
        raise Faults("kafka topics", [_to_make(one, refused[one.name]) for one in missing if one.name in refused])
    for one in missing:
        _logger.info("topic %s made with %d partitions, %s", one.name, one.partitions, one.settings)


def _to_make(one: Declared, why: str) -> str:
    settings = ", ".join(f"{key}={value}" for key, value in one.settings.items())
    return (
        f"{one.name} is not there for this user, and may not be made ({why}): "
        f"make it with {one.partitions} partitions and {settings}"
    )


async def _ready(admin: Any, made: Mapping[str, Declared], clock: Clock) -> None:
    while True:  # within the caller's deadline
        found = await look_up(admin, list(made))
        if all(name in found and found[name].partitions >= one.partitions for name, one in made.items()):
            return
        await clock.sleep(RETRY_S)
