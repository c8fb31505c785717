"""aiokafka's internals that the Kafka bus stands on, used in `seams.py` and `salvage.py` of `adapters/bus/kafka`.

When aiokafka is raised and something here fails, the name of the test says which seam moved.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import logging
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord  # type: ignore[import-untyped]
from aiokafka.admin import AIOKafkaAdminClient  # type: ignore[import-untyped]
from aiokafka.client import AIOKafkaClient  # type: ignore[import-untyped]
from aiokafka.consumer.fetcher import (  # type: ignore[import-untyped]
    Fetcher,
    FetchResult,
    PartitionRecords,
)
from aiokafka.consumer.group_coordinator import (  # type: ignore[import-untyped]
    CoordinatorGroupRebalance,
    GroupCoordinator,
)
from aiokafka.errors import CorruptRecordException, KafkaError, RebalanceInProgressError  # type: ignore[import-untyped]
from aiokafka.producer.message_accumulator import MessageAccumulator, MessageBatch  # type: ignore[import-untyped]
from aiokafka.protocol.admin import (  # type: ignore[import-untyped]
    ApiVersionRequest_v0,
    SaslAuthenticateRequest_v0,
    SaslAuthenticateRequest_v1,
)
from aiokafka.record.default_records import DefaultRecordBatchBuilder  # type: ignore[import-untyped]
from aiokafka.record.memory_records import MemoryRecords  # type: ignore[import-untyped]
from aiokafka.record.util import calc_crc32c  # type: ignore[import-untyped]
from aiokafka.structs import OffsetAndMetadata, TopicPartition  # type: ignore[import-untyped]

from adapters.bus.kafka import seams
from adapters.bus.kafka.delivery import KafkaDelivery
from adapters.bus.kafka.salvage import read as read_salvaged
from contracts.message import Partition

pytestmark = pytest.mark.anyio

KAFKA = Path(seams.__file__).parent
TP = TopicPartition("orders", 0)


def test_private_names_of_aiokafka_are_used_in_two_files_only() -> None:
    ours = {"self", "cls"}
    for path in KAFKA.glob("*.py"):
        if path.name in {"seams.py", "salvage.py"}:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
                owner = ast.unparse(node.value)
                known = owner.split(".")[0] in ours or owner in {"config", "config.fd_config"}
                assert known, f"{path.name}: {owner}.{node.attr}"


@pytest.mark.parametrize(
    ("owner", "name", "parameters"),
    [
        (GroupCoordinator, "request_rejoin", []),
        (GroupCoordinator, "ensure_coordinator_known", []),
        (GroupCoordinator, "_do_commit_offsets", ["assignment", "offsets"]),
        (GroupCoordinator, "_on_join_prepare", ["previous_assignment"]),
        (GroupCoordinator, "_on_join_complete", ["generation", "member_id", "protocol", "member_assignment_bytes"]),
        (CoordinatorGroupRebalance, "perform_group_join", []),
        (Fetcher, "_create_fetch_waiter", []),
        (FetchResult, "getall", ["max_records"]),
        (PartitionRecords, "_consumer_record", ["tp", "record"]),
        (AIOKafkaAdminClient, "_send_request", ["request", "node_id"]),
        (MessageAccumulator, "_append_batch", ["builder", "tp"]),
        (MessageBatch, "failure", ["exception"]),
    ],
)
def test_a_seam_has_its_shape(owner: Any, name: str, parameters: list[str]) -> None:
    assert set(parameters) <= set(inspect.signature(getattr(owner, name)).parameters)


async def test_a_consumer_has_what_is_looked_at() -> None:
    consumer = AIOKafkaConsumer(bootstrap_servers="127.0.0.1:1", group_id="g")
    assert {"_coordinator", "_fetcher", "_client", "_closed"} <= set(vars(consumer))
    for attribute in ("_fetch_task", "_records", "_pending_tasks", "_closed"):
        assert f"self.{attribute} = " in inspect.getsource(Fetcher.__init__)
    for attribute in (
        "_coordination_task",
        "_heartbeat_task",
        "_commit_refresh_task",
        "_closing",
        "_group_instance_id",
        "generation",
    ):
        assert f"self.{attribute} = " in inspect.getsource(GroupCoordinator.__init__)
    await seams.abandon_consumer(consumer)


async def test_a_task_that_takes_its_time_to_end_leaves_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seams, "END_WAIT_S", 0.05)
    told: list[str] = []
    begun, closed = asyncio.Event(), asyncio.Event()

    class Client:
        async def close(self) -> None:
            told.append("closed")
            closed.set()

    async def connects_after_all() -> None:
        begun.set()
        while not closed.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await closed.wait()
        told.append("connected")

    task = asyncio.get_running_loop().create_task(connects_after_all())
    await begun.wait()
    await seams._end([task], Client())
    assert told == ["closed", "connected", "closed"]


async def test_a_producer_has_what_is_looked_at() -> None:
    producer = AIOKafkaProducer(bootstrap_servers="127.0.0.1:1", enable_idempotence=True)
    assert producer._sender.sender_task is None
    assert seams.known_partitions(producer, "orders") is None
    await seams.abandon_producer(producer)


async def test_what_waits_behind_a_batch_that_failed_fails_with_it_and_is_not_sent() -> None:
    producer = AIOKafkaProducer(bootstrap_servers="127.0.0.1:1", max_batch_size=1_000)
    seams.nothing_overtakes(producer)
    producer._sender._sender_task = sender = asyncio.get_running_loop().create_future()
    accumulator, other = producer._message_accumulator, TopicPartition("orders", 1)
    first, behind = (accumulator._append_batch(accumulator.create_builder(), TP) for _ in range(2))
    beside = await accumulator.add_message(other, None, b"1", 1.0)
    waiting = behind.append(None, b"2", 0)
    accumulator._batches[TP].popleft()  # as the sender does
    first.failure(KafkaError("refused"))
    with pytest.raises(KafkaError, match="before it failed in partition 0 of orders"):
        waiting.result()
    with pytest.raises(KafkaError, match="before it failed in partition 0 of orders"):
        await accumulator.add_message(TP, None, b"3", 1.0)
    assert not beside.done()
    assert list(accumulator._batches) == [other]
    sender.set_result(None)
    [last] = accumulator._batches[other]
    accumulator.fail_all(KafkaError("crashed"))
    assert beside.exception()
    for batch in (first, last):  # seen, or a later test is told of them when they are collected
        assert [future.exception() for future in (batch.future, batch._drain_waiter)]
    await seams.abandon_producer(producer)


class Answer:
    topics = (("orders", [(0, 0)]),)


class Coordinator:
    """As much of a `GroupCoordinator` as a commit needs, with what it would send."""

    def __init__(self) -> None:
        self.group_id, self.generation, self.member_id, self.coordinator_id = "g", 7, "m", 1
        self.sent: list[Any] = []

    async def _send_req(self, request: Any) -> Any:
        self.sent.append(request)
        return Answer()


async def test_a_commit_is_sent_under_the_generation_of_the_moment_of_the_call() -> None:
    coordinator = Coordinator()
    offsets = {TP: OffsetAndMetadata(3, "note")}
    sending = GroupCoordinator._do_commit_offsets(coordinator, None, offsets)
    await sending
    [request] = coordinator.sent
    assert {7, "m"} <= {value for value in vars(request).values() if isinstance(value, int | str)}
    source = inspect.getsource(GroupCoordinator._do_commit_offsets)
    before = source[: source.index("await ")]
    assert "self.generation" in before, "something is awaited before the generation is looked at"


def test_a_generation_that_is_not_known_is_no_error_of_its_own() -> None:
    source = inspect.getsource(GroupCoordinator._do_commit_offsets)
    assert "self.reset_generation()" in source
    assert not RebalanceInProgressError.retriable


def test_heartbeats_go_on_while_partitions_are_revoked() -> None:
    source = inspect.getsource(GroupCoordinator.ensure_active_group)
    assert source.index("_on_join_prepare") < source.index("_stop_heartbeat_task") < source.index("_do_rejoin_group")


def test_the_assignor_is_asked_at_each_attempt_to_join() -> None:
    source = inspect.getsource(CoordinatorGroupRebalance.perform_group_join)
    assert "assignor.metadata(topics)" in source
    assert "assignor.assign(self._cluster, member_metadata)" in inspect.getsource(GroupCoordinator._perform_assignment)


def test_the_assignment_is_there_before_the_listener_is_called() -> None:
    source = inspect.getsource(GroupCoordinator._on_join_complete)
    assert source.index("assign_from_subscribed") < source.index("on_partitions_assigned(assigned)")


class Result:
    def __init__(self, records: Any) -> None:
        self._records = {TP: records}


class Consumer:
    def __init__(self, records: Any) -> None:
        self._fetcher = Result(records)


def partition_records() -> Any:
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1 << 16,
    )
    for number in range(3):
        builder.append(number, timestamp=1_000 + number, key=b"k", value=b"%d" % number, headers=[("h", b"v")])
    return PartitionRecords(TP, MemoryRecords(bytes(builder.build())), [], 0, None, None, True, 1)


def test_records_are_read_as_deliveries() -> None:
    records = partition_records()
    result = FetchResult(TP, assignment=None, partition_records=records, backoff=0)
    consumer = Consumer(result)
    assert seams.in_hand(consumer) == [TP]
    seams.read_as(consumer, TP, lambda _, record: KafkaDelivery(record, Partition("orders", 0), record.offset))
    read = list(records)
    assert [type(one) for one in read] == [KafkaDelivery] * 3
    assert [(one.position, one.body, one.key) for one in read] == [(0, b"0", "k"), (1, b"1", "k"), (2, b"2", "k")]
    assert read[2].envelope.headers == {"h": "v"}
    assert read[2].envelope.id == "orders:0:2:1002"


def test_what_is_not_read_so_is_a_record_with_the_same_names() -> None:
    for record in partition_records():
        assert isinstance(record, ConsumerRecord)
        delivery = KafkaDelivery(record, Partition("orders", 0), record.offset)
        assert delivery.envelope.id == f"orders:0:{record.offset}:{record.timestamp}"


def test_what_is_no_fetch_is_left_alone() -> None:
    seams.read_as(Consumer(None), TP, lambda *_: None)
    seams.read_as(Consumer(partition_records()), TP, lambda *_: None)


def batch(names: list[bytes]) -> bytes:
    """Records with one header each, whose name is any bytes of the length of `XXXX`."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1 << 16,
    )
    for number, _ in enumerate(names):
        builder.append(number, timestamp=1_000, key=None, value=b"%d" % number, headers=[("XXXX", b"v")])
    data = bytearray(builder.build())
    for name in names:
        at = data.index(b"XXXX")
        data[at : at + 4] = name
    data[17:21] = calc_crc32c(bytes(data[21:])).to_bytes(4, "big")
    return bytes(data)


def test_a_header_name_that_is_not_utf_8_is_what_aiokafka_fails_on() -> None:
    data = batch([b"good", b"\xff\xfe\xfd\xfc", b"last"])
    with pytest.raises(UnicodeDecodeError):
        list(PartitionRecords(TP, MemoryRecords(data), [], 0, None, None, True, 1))
    read = read_salvaged(TP, data, [], 0)
    assert [(one.offset, one.value, one.headers) for one in read] == [
        (0, b"0", (("good", b"v"),)),
        (1, b"1", (("\\xff\\xfe\\xfd\\xfc", b"v"),)),
        (2, b"2", (("last", b"v"),)),
    ]
    assert read.next_fetch_offset == 3


def test_what_is_corrupt_is_not_salvaged() -> None:
    data = bytearray(batch([b"good"]))
    data[-1] ^= 0xFF
    with pytest.raises(CorruptRecordException):
        list(read_salvaged(TP, bytes(data), [], 0))


def test_a_password_can_be_renewed_before_each_connection() -> None:
    """`seams.renew_password` replaces these on the instance, and aiokafka reads the attribute for each connection."""
    for name, parameters in (("_get_conn", ["node_id", "group", "no_hint"]), ("bootstrap", [])):
        assert list(inspect.signature(getattr(AIOKafkaClient, name)).parameters)[1:] == parameters
        assert "sasl_plain_password=self._sasl_plain_password" in inspect.getsource(getattr(AIOKafkaClient, name))
    assert "self._conns[conn_id]" in inspect.getsource(AIOKafkaClient._get_conn)
    assert "conn_id = (node_id, group)" in inspect.getsource(AIOKafkaClient._get_conn)


def test_what_logs_in_is_logged_by_a_telling_name(caplog: pytest.LogCaptureFixture) -> None:
    """aiokafka logs whole requests at DEBUG: those that carry a password or a token are dropped by their names."""
    logger = logging.getLogger("aiokafka.conn")
    with caplog.at_level(logging.DEBUG, logger="aiokafka.conn"):
        for request in (SaslAuthenticateRequest_v0(b"geheim"), SaslAuthenticateRequest_v1(b"geheim")):
            logger.debug("Request to %s:%d %d: %s", "host", 1, 1, request)
        logger.debug("Request to %s:%d %d: %s", "host", 1, 1, ApiVersionRequest_v0())
    assert [record.getMessage() for record in caplog.records] == ["Request to host:1 1: ApiVersionRequest_v0()"]
