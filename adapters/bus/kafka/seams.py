"""What aiokafka does not offer in public: every use of its internals is here, each with a canary test.

`tests/adapters/test_kafka_canaries.py` says which seam moved when aiokafka is raised.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
from collections.abc import Callable, Mapping
from typing import Any

from aiokafka.client import ConnectionGroup  # type: ignore[import-untyped]
from aiokafka.conn import create_conn  # type: ignore[import-untyped]
from aiokafka.consumer.fetcher import FetchResult  # type: ignore[import-untyped]
from aiokafka.errors import KafkaConnectionError, KafkaError  # type: ignore[import-untyped]
from aiokafka.protocol.metadata import MetadataRequest  # type: ignore[import-untyped]
from aiokafka.structs import OffsetAndMetadata, TopicPartition  # type: ignore[import-untyped]

from adapters.bus.kafka.connection import LookedUp
from contracts.errors import Unavailable

_logger = logging.getLogger("millrace.bus")

Read = Callable[[Any, Any], Any]

END_TRIES, END_WAIT_S = 3, 1.0


def generation(consumer: Any) -> int:
    """Of the group, as of the last time that this member joined it; 0 or less: it is no member now."""
    return int(consumer._coordinator.generation)


def join_again(consumer: Any) -> None:
    """Begin a rebalance, so that what was given up finds an owner."""
    consumer._coordinator.request_rejoin()


async def look_around(consumer: Any) -> None:
    """Ask now which topics and partitions there are, instead of in some minutes."""
    await consumer._client.force_metadata_update()


async def ready_to_commit(consumer: Any) -> None:
    """Returns when the group's coordinator is known."""
    await consumer._coordinator.ensure_coordinator_known()


async def commit(consumer: Any, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
    """One request, under the generation of this very moment; `consumer.commit` refuses what is being given up, waits
    before it looks at the generation, and repeats without end."""
    await consumer._coordinator._do_commit_offsets(None, dict(offsets))


def in_hand(consumer: Any) -> list[TopicPartition]:
    """The partitions of which something was fetched (an error perhaps) that nobody has asked for yet."""
    return list(consumer._fetcher._records)


def read_as(consumer: Any, tp: TopicPartition, read: Read) -> None:
    """What is in hand of this partition is made by `read(tp, record)` instead of as a `ConsumerRecord`, which costs
    twice as much as everything else about a record."""
    result = consumer._fetcher._records.get(tp)
    if result.__class__ is FetchResult and result._partition_records is not None:
        result._partition_records._consumer_record = read


def arrival(consumer: Any) -> asyncio.Future[None]:
    """Done when something was fetched; it may be done by hand. Raises what aiokafka has to tell."""
    waiter: asyncio.Future[None] = consumer._fetcher._create_fetch_waiter()
    return waiter


def is_running(consumer: Any) -> bool:
    """Its own tasks live; where one of them crashed nothing would ever come again."""
    return not (consumer._fetcher._fetch_task.done() or consumer._coordinator._coordination_task.done())


async def ask(admin: Any, request: Any) -> Any:
    """Any node of the cluster."""
    return await admin._send_request(request)


def leave_when_stopped(consumer: Any) -> None:
    """A static member that stops leaves its group as others do, instead of holding its partitions for a session."""
    if consumer._coordinator is not None:
        consumer._coordinator._group_instance_id = None


async def abandon_consumer(consumer: Any) -> None:
    """End its tasks and close its sockets, without a word to anybody: it did not stop in time."""
    consumer._closed = True
    coordinator, fetcher = consumer._coordinator, consumer._fetcher
    tasks = []
    if coordinator is not None:
        coordinator._closing.done() or coordinator._closing.set_result(None)
        tasks += [coordinator._coordination_task, coordinator._heartbeat_task, coordinator._commit_refresh_task]
    if fetcher is not None:
        fetcher._closed = True
        tasks += [fetcher._fetch_task, *fetcher._pending_tasks]
    await _end([task for task in tasks if task is not None], consumer._client)


async def abandon_producer(producer: Any) -> None:
    """The same for a producer: what it has not sent is lost."""
    producer._closed = True
    task = producer._sender.sender_task
    await _end([task] if task is not None else [], producer.client)


def nothing_overtakes(producer: Any) -> None:
    """Once a batch has failed, nothing more of its partition is sent by this producer: what waits behind it, or comes
    later, fails. It happens in the very call that fails the batch, before aiokafka can send the next one."""
    accumulator = producer._message_accumulator
    append, failed = accumulator._append_batch, set()

    def overtakes(tp: TopicPartition) -> KafkaError:
        return KafkaError(f"a batch before it failed in partition {tp.partition} of {tp.topic}")

    def append_batch(builder: Any, tp: TopicPartition) -> Any:
        if tp in failed:
            raise overtakes(tp)
        batch = append(builder, tp)
        fail = batch.failure

        def failure(exception: BaseException) -> None:
            fail(exception)
            if tp not in failed and not producer._sender.sender_task.done():  # one that ended sends nothing anyway
                failed.add(tp)
                for behind in accumulator._batches.pop(tp, ()):
                    behind.failure(overtakes(tp))
                    behind._drain_waiter.exception()  # seen, in case that nobody waits for room in it

        batch.failure = failure
        return batch

    accumulator._append_batch = append_batch


def known_partitions(producer: Any, topic: str) -> set[int] | None:
    """None where the cluster has said that there is no such topic, or nothing yet."""
    partitions: set[int] | None = producer.client.cluster.partitions_for_topic(topic)
    return partitions


async def _end(tasks: list[asyncio.Task[None]], client: Any) -> None:
    """Cancel the tasks and close the client under them. It is closed once more after a task that took its time: that
    one may have made a connection meanwhile."""
    for _ in range(END_TRIES):
        living = [task for task in tasks if not task.done()]
        for task in living:
            task.cancel()
        if living:
            await asyncio.wait(living, timeout=END_WAIT_S)
        with contextlib.suppress(Exception):
            async with asyncio.timeout(END_WAIT_S):
                await client.close()
        if all(task.done() for task in living):
            return


async def connect(server: str, options: Mapping[str, Any]) -> None:
    """One connection to one server, TLS and SASL included, and closed again. Raises what kept it from being made, which
    aiokafka's clients only log."""
    host, _, port = server.rpartition(":")
    parameters = inspect.signature(create_conn).parameters
    made = await create_conn(host.strip("[]"), int(port), **{k: v for k, v in options.items() if k in parameters})
    try:
        # What is refused after the handshake only (in TLS 1.3: who has no certificate) is told by reading.
        answer = await made.send(MetadataRequest([]))
    finally:
        made.close()
    if not answer.brokers:  # so is a token that was refused: aiokafka takes the refusal for a welcome
        raise KafkaConnectionError("it names no servers to us")


def renew_password(owner: Any) -> None:
    """Each connection that this consumer, producer or admin makes from now on is made with the password of that time,
    where it was given as a `LookedUp`."""
    client = owner.client if hasattr(owner, "client") else owner._client
    if not isinstance(client._sasl_plain_password, LookedUp):
        return
    look_up, get, bootstrap = client._sasl_plain_password.look_up, client._get_conn, client.bootstrap

    async def renew() -> None:
        client._sasl_plain_password = (await look_up()).reveal()

    async def get_conn(node_id: Any, *, group: Any = ConnectionGroup.DEFAULT, **more: Any) -> Any:
        present = client._conns.get((node_id, group))
        if present is None or not present.connected():
            try:
                await renew()
            except Unavailable as error:
                _logger.warning("%s; the password before is tried", error)
        return await get(node_id, group=group, **more)

    async def first_connection() -> None:
        try:
            await renew()
        except Unavailable as error:
            raise KafkaConnectionError(str(error)) from error
        await bootstrap()

    client._get_conn, client.bootstrap = get_conn, first_connection
