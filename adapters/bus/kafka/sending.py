"""Publishing: everything is sent at once and in order, and what returns is confirmed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from aiokafka.errors import (  # type: ignore[import-untyped]
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
)

from adapters.bus.kafka import seams
from adapters.bus.wire import key_bytes, to_headers
from contracts.errors import BadInput, Permanent, Transient, Unavailable
from contracts.message import Envelope
from contracts.ports.clock import Clock

TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)


async def send_all(producer: Any, envelopes: Sequence[Envelope], clock: Clock, *, wait_s: float) -> None:
    """Returns once the cluster has confirmed all; those of one key keep their order.

    Raises `BadInput` for one that is too large, `Unavailable` at the deadline, `Transient` for a topic that is not
    there: then any of them may have been published, or may still be.
    """
    confirmed: list[asyncio.Future[Any]] = []
    try:
        async with clock.timeout(wait_s):
            for envelope in envelopes:
                confirmed.append(await _send(producer, envelope))  # noqa: PERF401 - those before a failure are kept
            for future in confirmed:
                await future
    except TimeoutError:
        raise _late(producer, envelopes, wait_s) from None
    except TOO_LARGE as error:
        raise BadInput(_too_large(envelopes, error)) from error
    except TopicAuthorizationFailedError as error:
        raise Permanent(f"Kafka does not allow this user to write to {error}: grant WRITE on the topic") from error
    except KafkaError as error:
        raise Unavailable("kafka", str(error) or type(error).__name__) from error
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


def _late(producer: Any, envelopes: Sequence[Envelope], wait_s: float) -> Transient:
    missing = sorted({one.address for one in envelopes if seams.known_partitions(producer, one.address) is None})
    if missing:
        return Transient(
            f"topic {', '.join(missing)} is not there, or the cluster does not answer (waited {wait_s:g} s): start a "
            "worker whose route declares it, or make it"
        )
    return Unavailable("kafka", f"not confirmed within {wait_s:g} s")


def _too_large(envelopes: Sequence[Envelope], error: Exception) -> str:
    largest = max(envelopes, key=lambda one: len(one.body))
    return (
        f"message {largest.id} to {largest.address} has {len(largest.body):,} bytes, more than Kafka takes ({error}): "
        "put what is large into a file and send its name"
    )
