"""Records that aiokafka can't read: it fails on a header whose name is not UTF-8, and with it on all that lies around.

Such a fetch is made once more, and read by aiokafka's own pure Python reader with names that are not UTF-8 written as
`\\xff`. It is slow and rare. As `seams` it stands on what aiokafka does not offer in public.
"""

from __future__ import annotations

from typing import Any

from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords  # type: ignore[import-untyped]
from aiokafka.errors import LeaderNotAvailableError, for_code  # type: ignore[import-untyped]
from aiokafka.protocol.fetch import FetchRequest  # type: ignore[import-untyped]
from aiokafka.record.default_records import _DefaultRecordBatchPy  # type: ignore[import-untyped]
from aiokafka.record.memory_records import _MemoryRecordsPy  # type: ignore[import-untyped]
from aiokafka.structs import TopicPartition  # type: ignore[import-untyped]

WAIT_MS = 500


class _Lenient(bytearray):
    """Its parts are lenient too."""

    def __getitem__(self, place: Any) -> Any:
        part = super().__getitem__(place)
        return _Lenient(part) if isinstance(part, bytearray) else part

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return super().decode(encoding, "backslashreplace" if errors == "strict" else errors)


class _Batch(_DefaultRecordBatchPy):  # type: ignore[misc]
    _buffer: bytearray

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        if not isinstance(self._buffer, _Lenient):
            self._buffer = _Lenient(self._buffer)


class _Records(_MemoryRecordsPy):  # type: ignore[misc]
    def next_batch(self) -> Any:
        piece = self._next_slice
        batch = super().next_batch()
        return _Batch(piece) if piece is not None and batch.magic >= 2 else batch


async def read_leniently(consumer: Any, tp: TopicPartition, position: int, *, size_bytes: int) -> tuple[list[Any], int]:
    """The records from `position` on, and the position after them. Raises `KafkaError`, also for what is corrupt."""
    client = consumer._client
    leader = client.cluster.leader_for_partition(tp)
    if leader is None or leader < 0:
        raise LeaderNotAvailableError(tp)
    topics = [(tp.topic, [(tp.partition, position, size_bytes)])]
    answer = await client.send(leader, FetchRequest(WAIT_MS, 1, size_bytes, READ_COMMITTED, topics, rack_id=""))
    [(_, [(_, code, _, *data)])] = answer.topics
    if code:
        raise for_code(code)(tp)
    aborted = data[2] if answer.API_VERSION >= 11 else data[-2]
    records = read(tp, data[-1], aborted, position)
    return list(records), records.next_fetch_offset


def read(tp: TopicPartition, data: bytes, aborted: Any, position: int) -> Any:
    """An iterator, as aiokafka's own: without what transactions took back, and with checksums."""
    return PartitionRecords(tp, _Records(data), aborted, position, None, None, True, READ_COMMITTED)
