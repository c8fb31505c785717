"""Topics read by time, with a consumer that is in no group."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any

from aiokafka import AIOKafkaConsumer  # type: ignore[import-untyped]
from aiokafka.admin import AIOKafkaAdminClient  # type: ignore[import-untyped]
from aiokafka.errors import (  # type: ignore[import-untyped]
    KafkaError,
    OffsetOutOfRangeError,
    TopicAuthorizationFailedError,
)
from aiokafka.structs import OffsetAndTimestamp, TopicPartition  # type: ignore[import-untyped]

from adapters.bus.kafka import seams, topics
from adapters.bus.kafka.asking import patiently
from adapters.bus.kafka.delivery import envelope_of
from adapters.bus.kafka.limits import KafkaLimits
from adapters.bus.kafka.salvage import read_leniently
from adapters.bus.wire import EPOCH, instant, milliseconds
from contracts.errors import Conflict, NotFound, Permanent, Unavailable
from contracts.message import Delivery, Partition
from contracts.ports.clock import Clock
from contracts.ports.history import Stretch

POLL_S = 1.0


class KafkaHistory:
    """Implements `History`. `options` are those of every client of the bus."""

    def __init__(self, options: Mapping[str, Any], *, address: str, clock: Clock, limits: KafkaLimits) -> None:
        self._options = options
        self._address = address
        self._clock = clock
        self._limits = limits
        self._admin: Any = None

    @property
    def address(self) -> str:
        return self._address

    async def open(self) -> None:
        if self._admin is not None:
            return
        admin = AIOKafkaAdminClient(**self._options)
        try:
            async with self._clock.timeout(self._limits.open_wait_s):
                await admin.start()
        except (KafkaError, TimeoutError, OSError) as error:
            await self._closed(admin)
            why = str(error) or f"no answer within {self._limits.open_wait_s:g} s"
            raise Unavailable("kafka", f"{self._address}: {why}") from error
        self._admin = admin

    async def check(self) -> None:
        try:
            await self._opened().describe_cluster()
        except KafkaError as error:
            raise Unavailable("kafka", f"{self._address}: {error or type(error).__name__}") from error

    async def close(self) -> None:
        admin, self._admin = self._admin, None
        if admin is not None:
            await self._closed(admin)

    async def stretches(
        self, address: str, *, from_at: datetime | None = None, to_at: datetime | None = None
    ) -> list[Stretch]:
        known = (await self._asked(lambda: topics.look_up(self._opened(), [address]))).get(address)
        if known is None:
            raise NotFound(f"there is no topic {address!r} on {self._address}, or this user may not see it")
        tps = [TopicPartition(address, index) for index in range(known.declared)]
        async with self._client() as client:
            first = await self._asked(lambda: client.beginning_offsets(tps))
            # The end before the times: what comes meanwhile is in no stretch, whatever its time.
            last = await self._asked(lambda: client.end_offsets(tps))
            oldest = await self._since(client, tps, EPOCH)
            begin = await self._since(client, tps, from_at) if from_at else None
            end = await self._since(client, tps, to_at) if to_at else None
        found = []
        for tp in tps:
            ends = min(_offset(end[tp], last[tp]) if end else last[tp], last[tp])
            begins = min(_offset(begin[tp], ends) if begin else first[tp], ends)
            oldest_at = None if (there := oldest[tp]) is None else instant(there.timestamp)
            found.append(
                Stretch(
                    partition=Partition(address, tp.partition),
                    incarnation=known.id,
                    first=begins,
                    end=ends,
                    messages=ends - begins,
                    oldest_at=oldest_at,
                    expired=from_at is not None and first[tp] > 0 and (oldest_at is None or oldest_at > from_at),
                )
            )
        return found

    @asynccontextmanager
    async def reader(self, stretches: Sequence[Stretch], *, rows: int, size_bytes: int) -> AsyncIterator[KafkaReader]:
        left = {stretch.partition: stretch for stretch in stretches if not stretch.is_empty}
        for address in sorted({partition.address for partition in left}):
            await self._check_incarnation(address, left.values())
        if not left:  # aiokafka's consumer does not end well where nothing was assigned to it
            yield KafkaReader(None, left, self._clock, self._limits, rows=rows, size_bytes=size_bytes)
            return
        async with self._client(max_partition_fetch_bytes=size_bytes) as client:
            tps = {TopicPartition(at.address, at.index): stretch for at, stretch in left.items()}
            client.assign(list(tps))
            for tp, stretch in tps.items():
                client.seek(tp, stretch.first)
            yield KafkaReader(client, left, self._clock, self._limits, rows=rows, size_bytes=size_bytes)

    async def _check_incarnation(self, address: str, stretches: Any) -> None:
        known = (await self._asked(lambda: topics.look_up(self._opened(), [address]))).get(address)
        if known is None or any(known.id != one.incarnation for one in stretches if one.partition.address == address):
            raise Conflict(f"topic {address} was deleted, or made anew, since it was decided what to read of it")

    @asynccontextmanager
    async def _client(self, **options: Any) -> AsyncIterator[Any]:
        client = AIOKafkaConsumer(
            **self._options,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            fetch_max_bytes=self._limits.fetch_bytes,
            fetch_max_wait_ms=int(self._limits.fetch_wait_s * 1000),
            **options,
        )
        try:
            async with self._clock.timeout(self._limits.open_wait_s):
                await client.start()
        except BaseException as error:
            await seams.abandon_consumer(client)
            if isinstance(error, KafkaError | TimeoutError | OSError):
                why = str(error) or f"no answer within {self._limits.open_wait_s:g} s"
                raise Unavailable("kafka", f"{self._address}: {why}") from error
            raise
        try:
            yield client
        finally:
            try:
                async with self._clock.timeout(self._limits.close_wait_s):
                    await client.stop()
            except (KafkaError, TimeoutError, OSError):
                await seams.abandon_consumer(client)

    async def _since(
        self, client: Any, tps: Sequence[TopicPartition], at: datetime
    ) -> dict[TopicPartition, OffsetAndTimestamp | None]:
        """By partition the first record of that time, or later."""
        times = dict.fromkeys(tps, max(0, milliseconds(at)))
        found: dict[TopicPartition, OffsetAndTimestamp | None] = await self._asked(
            lambda: client.offsets_for_times(dict(times))
        )
        return found

    async def _asked(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        return await patiently(ask, self._clock, wait_s=self._limits.open_wait_s, what=self._address)

    async def _closed(self, admin: Any) -> None:
        with suppress(KafkaError, TimeoutError, OSError):
            async with self._clock.timeout(self._limits.close_wait_s):
                await admin.close()

    def _opened(self) -> Any:
        if self._admin is None:
            raise Unavailable("kafka", "the history is not open; call `open()` first")
        return self._admin


class KafkaReader:
    """Implements `Reader` over one consumer, which reads ahead of each partition, so much as it may hold of it."""

    def __init__(
        self,
        client: Any,
        stretches: Mapping[Partition, Stretch],
        clock: Clock,
        limits: KafkaLimits,
        *,
        rows: int,
        size_bytes: int,
    ) -> None:
        self._client = client
        self._stretches = stretches
        self._clock = clock
        self._rows = rows
        self._size_bytes = size_bytes
        self._wait_s = limits.read_wait_s

    async def following(self, partition: Partition) -> Sequence[Delivery]:
        stretch = self._stretches.get(partition)
        if stretch is None:
            return []
        tp = TopicPartition(partition.address, partition.index)
        quiet_since = self._clock.monotonic()
        at = await self._client.position(tp)
        while at < stretch.end:
            records = await self._records(tp, at)
            if fitting := [record for record in records if record.offset < stretch.end]:
                return [Delivery(envelope_of(one, partition), partition, one.offset) for one in fitting]
            # What transactions leave behind, and what compaction took away, has offsets and no records.
            before, at = at, await self._client.position(tp)
            if at > before:
                quiet_since = self._clock.monotonic()
            elif self._clock.monotonic() - quiet_since > self._wait_s:
                raise Unavailable(
                    "kafka",
                    f"nothing came of {partition.address}, partition {partition.index}, from {at} on for "
                    f"{self._wait_s:g} s, and it goes to {stretch.end}",
                )
        self._client.pause(tp)
        return []

    async def _records(self, tp: TopicPartition, at: int) -> Sequence[Any]:
        try:
            got = await self._client.getmany(tp, timeout_ms=int(POLL_S * 1000), max_records=self._rows)
            return list(got.get(tp, ()))
        except OffsetOutOfRangeError:
            raise Conflict(
                f"{tp.topic}, partition {tp.partition}: what lies from {at} on was deleted before it was read: begin "
                "anew with what is left"
            ) from None
        except TopicAuthorizationFailedError as error:
            raise Permanent(f"Kafka does not allow this user to read {tp.topic}: grant READ on the topic") from error
        except Exception as error:  # noqa: BLE001 - what is corrupt may fail in any way
            return await self._salvaged(tp, at, error)

    async def _salvaged(self, tp: TopicPartition, at: int, found: Exception) -> Sequence[Any]:
        """Read in another way: aiokafka would go on behind what it could not read."""
        self._client.seek(tp, at)
        try:
            records, position = await read_leniently(self._client, tp, at, size_bytes=self._size_bytes)
        except Exception as error:
            why = str(found) or type(found).__name__
            raise Unavailable(
                "kafka", f"{tp.topic}, partition {tp.partition}, can't be read from {at} on: {why}"
            ) from error
        self._client.seek(tp, position)
        return records


def _offset(found: OffsetAndTimestamp | None, otherwise: int) -> int:
    return otherwise if found is None else int(found.offset)
