"""The producer: everything is sent at once and in order, and what returns is confirmed.

It is idempotent, so that aiokafka may repeat what was not answered. The price: a batch that failed leaves a gap in the
sequence that it counts, and what follows in that partition is refused as well, or taken out of order by a broker that
knows nothing of the sequence. So whatever waits behind it in that partition fails with it, unsent; the producer is
replaced, and everybody sends again, in their order. The old one ends with what it has for other partitions.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer  # type: ignore[import-untyped]
from aiokafka.errors import (  # type: ignore[import-untyped]
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
)

from adapters.bus.kafka import seams
from adapters.bus.kafka.limits import KafkaLimits
from adapters.bus.owned import OwnedTasks
from adapters.bus.wire import key_bytes, to_headers
from contracts.errors import BadInput, Permanent, Transient, Unavailable
from contracts.message import Envelope
from contracts.ports.clock import Clock

_logger = logging.getLogger("millrace.bus")

ATTEMPTS = 3
"""To send, within the one deadline; each by another producer."""
TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)


class Producing:
    """Owns the producer, from `start` to `stop`; `use` is told of each one that there is."""

    def __init__(
        self, options: dict[str, Any], limits: KafkaLimits, clock: Clock, *, use: Callable[[Any], Awaitable[None]]
    ) -> None:
        self._options = options
        self._limits = limits
        self._clock = clock
        self._use = use
        self._producer: Any = None
        self._renewing = asyncio.Lock()
        self._tasks = OwnedTasks("kafka producer")

    @property
    def is_open(self) -> bool:
        return self._producer is not None

    async def start(self) -> None:
        """Raises what aiokafka raises, or `TimeoutError`."""
        producer = self._made()
        seams.nothing_overtakes(producer)
        try:
            async with self._clock.timeout(self._limits.open_wait_s):
                await self._use(producer)
        except BaseException:
            await seams.abandon_producer(producer)
            raise
        self._producer = producer

    async def stop(self) -> None:
        """What is not confirmed yet has its chance until the deadline."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await self._stopped(producer)
        await self._tasks.close()

    async def abandon(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await seams.abandon_producer(producer)
        await self._tasks.close()

    async def send(self, envelopes: Sequence[Envelope]) -> None:
        """Returns once the cluster has confirmed all; those of one key keep their order.

        Raises `BadInput` for those that are too large, when all others are there; `Unavailable` at the deadline,
        `Transient` for a topic that is not there: then any of them may have been published, or may still be.
        """
        if self._producer is None:
            raise Unavailable("kafka", "the bus is not open; call `open()` (or the broker's `connect()`) first")
        fitting = [one for one in envelopes if len(one.body) < self._limits.message_bytes]
        await self._send(fitting)
        if len(fitting) < len(envelopes):
            large = [one for one in envelopes if len(one.body) >= self._limits.message_bytes]
            raise BadInput([_too_large(one, f"at most {self._limits.message_bytes:,}") for one in large])

    async def _send(self, envelopes: Sequence[Envelope]) -> None:
        producer = self._producer
        try:
            async with self._clock.timeout(self._limits.publish_wait_s):
                for again in reversed(range(ATTEMPTS)):
                    producer = self._producer
                    try:
                        return await _send_all(producer, envelopes)
                    except TOO_LARGE:
                        await self._renew(producer)
                        return await self._send_one_by_one(envelopes)
                    except TopicAuthorizationFailedError:
                        await self._renew(producer)
                        raise
                    except KafkaError as error:
                        await self._renew(producer)
                        if not again:
                            raise
                        _logger.warning("what was published is sent again: %s", error or type(error).__name__)
        except TimeoutError:
            raise self._late(producer, envelopes) from None
        except TopicAuthorizationFailedError as error:
            raise Permanent(f"Kafka does not allow this user to write to {error}: grant WRITE on the topic") from error
        except (KafkaError, OSError) as error:
            raise Unavailable("kafka", str(error) or type(error).__name__) from error

    async def _renew(self, refused: Any) -> None:
        async with self._renewing:
            if self._producer is refused:
                await self.start()
                self._tasks.start(self._stopped(refused), "stop the one before")
        if self._producer is None:
            raise Unavailable("kafka", "the bus was closed while it published")

    async def _send_one_by_one(self, envelopes: Sequence[Envelope]) -> None:
        """By a producer that nobody else uses: whatever is refused is refused for what it is itself."""
        faults = []
        alone = self._made()
        try:
            await alone.start()
            for envelope in envelopes:
                try:
                    await (await _send(alone, envelope))
                except TOO_LARGE as error:
                    faults.append(_too_large(envelope, error))
                    await seams.abandon_producer(alone)
                    alone = self._made()
                    await alone.start()
        finally:
            await seams.abandon_producer(alone)
        if faults:
            raise BadInput(faults)

    def _made(self) -> Any:
        producer = AIOKafkaProducer(**self._options)
        seams.renew_password(producer)
        return producer

    async def _stopped(self, producer: Any) -> None:
        try:
            async with self._clock.timeout(self._limits.close_wait_s):
                await producer.stop()
        except (KafkaError, TimeoutError, OSError) as error:
            _logger.warning("a producer did not end in order: %s", error or "no answer")
        finally:
            await seams.abandon_producer(producer)

    def _late(self, producer: Any, envelopes: Sequence[Envelope]) -> Transient:
        wait_s = self._limits.publish_wait_s
        missing = sorted({one.address for one in envelopes if seams.known_partitions(producer, one.address) is None})
        if missing:
            return Transient(
                f"topic {', '.join(missing)} is not there, or the cluster does not answer (waited {wait_s:g} s): "
                "start a worker whose route declares it, or make it"
            )
        return Unavailable("kafka", f"not confirmed within {wait_s:g} s")


async def _send_all(producer: Any, envelopes: Sequence[Envelope]) -> None:
    confirmed: list[asyncio.Future[Any]] = []
    try:
        for envelope in envelopes:
            confirmed.append(await _send(producer, envelope))  # noqa: PERF401 - those before a failure are kept
        for future in confirmed:
            await future
    finally:
        for future in confirmed:
            future.add_done_callback(_seen)


async def _send(producer: Any, envelope: Envelope) -> asyncio.Future[Any]:
    future: asyncio.Future[Any] = await producer.send(
        envelope.address, envelope.body, key_bytes(envelope.key), headers=to_headers(envelope)
    )
    return future


def _seen(future: asyncio.Future[Any]) -> None:
    """The first error was told; the others are not to be reported as forgotten."""
    if not future.cancelled():
        future.exception()


def _too_large(envelope: Envelope, why: object) -> str:
    return (
        f"message {envelope.id} to {envelope.address} has {len(envelope.body):,} bytes, more than Kafka takes ({why}): "
        "put what is large into a file and send its name"
    )
