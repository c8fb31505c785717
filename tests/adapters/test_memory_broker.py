"""The memory broker as a FastStream user meets it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
from faststream import AckPolicy, BaseMiddleware, Context, FastStream
from faststream.exceptions import (
    AckMessage,
    FeatureNotSupportedException,
    NackMessage,
    RejectMessage,
    SetupError,
    StopConsume,
)

from adapters.bus.memory.broker import MemoryBroker
from adapters.bus.memory.command import MemoryResponse
from adapters.bus.memory.log import MemoryLog
from adapters.bus.memory.message import MemoryMessage, Redelivery
from adapters.bus.memory.router import MemoryRoute, MemoryRouter
from adapters.bus.memory.topic import Bounds
from adapters.bus.turn import next_turn
from adapters.clock.manual import ManualClock
from contracts.errors import BadInput, LeaseLost, Unavailable

pytestmark = pytest.mark.anyio

Message = Annotated[MemoryMessage, Context("message")]
PATIENCE_S = 10.0


class Seen:
    """What handlers noted, with a way to wait for it."""

    def __init__(self) -> None:
        self.notes: list[Any] = []
        self._changed = asyncio.Event()

    def note(self, value: Any) -> None:
        self.notes.append(value)
        self._changed.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.notes) < count:
                self._changed.clear()
                await self._changed.wait()


async def quiet() -> None:
    for _ in range(100):
        await next_turn()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def log(clock: ManualClock) -> MemoryLog:
    return MemoryLog(clock, Bounds(dead_letters=3))


@pytest.fixture
async def broker(log: MemoryLog) -> AsyncIterator[MemoryBroker]:
    broker = MemoryBroker(log, logger=None)
    yield broker
    await broker.stop()


@pytest.fixture
def seen() -> Seen:
    return Seen()


async def test_a_handler_gets_what_is_published(broker: MemoryBroker, seen: Seen) -> None:
    @broker.subscriber("orders")
    async def handle(order: dict[str, int], message: Message) -> None:
        seen.note((order, message.headers["tenant"], message.message_id, message.correlation_id))

    await broker.start()
    headers = {"tenant": "blue", "message-id": "order-1"}
    await broker.publish({"number": 1}, "orders", headers=headers, correlation_id="web-1")
    await seen.until(1)
    assert seen.notes == [({"number": 1}, "blue", "order-1", "web-1")]
    assert broker.log.stats("orders").messages == 0


async def test_workers_run_side_by_side(broker: MemoryBroker, seen: Seen) -> None:
    together = asyncio.Barrier(3)

    @broker.subscriber("orders", max_workers=3, partitions=1)
    async def handle(number: int) -> None:
        await together.wait()
        seen.note(number)

    await broker.start()
    for number in range(6):
        await broker.publish(number, "orders")
    await seen.until(6)
    assert sorted(seen.notes) == list(range(6))


async def test_one_worker_keeps_the_order_of_a_key(broker: MemoryBroker, seen: Seen) -> None:
    @broker.subscriber("orders")
    async def handle(number: int) -> None:
        await next_turn()
        seen.note(number)

    await broker.start()
    for number in range(20):
        await broker.publish(number, "orders", key="same")
    await seen.until(20)
    assert seen.notes == list(range(20))


async def test_groups_compete_within_and_not_among(log: MemoryLog, seen: Seen) -> None:
    brokers = [MemoryBroker(log, logger=None) for _ in range(3)]
    for broker, group in zip(brokers, ("billing", "billing", "shipping"), strict=True):
        broker.subscriber("orders", group=group)(_noting(seen, group))
    for broker in brokers:
        await broker.start()
    for number in range(30):
        await brokers[0].publish(number, "orders")
    await seen.until(60)
    assert sorted(seen.notes) == sorted((group, number) for group in ("billing", "shipping") for number in range(30))
    for broker in brokers:
        await broker.stop()


def _noting(seen: Seen, group: str) -> Any:
    async def handle(number: int) -> None:
        seen.note((group, number))

    return handle


async def test_a_poison_message_backs_off_and_is_buried_while_others_pass(
    broker: MemoryBroker, seen: Seen, clock: ManualClock
) -> None:
    @broker.subscriber("orders", partitions=1, redelivery=Redelivery(first_s=1, factor=2, deliveries=3))
    async def handle(number: int) -> None:
        seen.note(number)
        if number == 13:
            raise ValueError("unlucky")

    await broker.start()
    await broker.publish(13, "orders", key="k")
    await broker.publish(1, "orders", key="k")
    await seen.until(2)
    await quiet()
    assert seen.notes == [13, 1], "it came again at once, or it held up its follower"
    await clock.advance(0.9)
    assert seen.notes == [13, 1]
    await clock.advance(0.1)
    assert seen.notes == [13, 1, 13]
    await clock.advance(1.9)
    assert len(seen.notes) == 3
    await clock.advance(0.1)
    assert seen.notes == [13, 1, 13, 13]
    await clock.advance(100)
    assert len(seen.notes) == 4
    [letter] = broker.dead_letters
    assert letter.delivery.envelope.body == b"13"
    assert letter.delivery.deliveries == 3
    assert letter.group == "default"
    assert "3 deliveries" in letter.reason
    assert broker.log.stats("orders").messages == 0


async def test_a_handler_that_waits_for_something_cancelled_does_not_end_its_worker(
    broker: MemoryBroker, seen: Seen, clock: ManualClock
) -> None:
    @broker.subscriber("orders", partitions=1, redelivery=Redelivery(first_s=1, deliveries=2))
    async def handle(number: int) -> None:
        seen.note(number)
        if number == 1:
            lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            lost.cancel()
            await lost

    await broker.start()
    await broker.publish(1, "orders")
    await broker.publish(2, "orders")
    await seen.until(2)
    await clock.advance(10)
    assert seen.notes == [1, 2, 1]
    assert "was cancelled" in broker.dead_letters[0].reason


async def test_what_is_acknowledged_is_not_buried_whatever_comes_after(broker: MemoryBroker, seen: Seen) -> None:
    @broker.subscriber("orders", ack_policy=AckPolicy.MANUAL, redelivery=Redelivery(deliveries=1))
    async def handle(number: int, message: Message) -> None:
        await message.ack()
        seen.note(number)
        raise asyncio.CancelledError

    await broker.start()
    await broker.publish(1, "orders")
    await broker.publish(2, "orders")
    await seen.until(2)
    await quiet()
    assert not broker.dead_letters


async def test_the_dead_letters_are_bounded(broker: MemoryBroker, seen: Seen) -> None:
    @broker.subscriber("orders", redelivery=Redelivery(deliveries=1))
    async def handle(number: int) -> None:
        seen.note(number)
        raise ValueError("never")

    await broker.start()
    for number in range(5):
        await broker.publish(number, "orders", key="k")
    await seen.until(5)
    await quiet()
    assert [letter.delivery.envelope.body for letter in broker.dead_letters] == [b"2", b"3", b"4"]


@pytest.mark.parametrize("bad", [b"{broken", b'"text"'])
async def test_what_cannot_be_decoded_is_buried_too(
    broker: MemoryBroker, clock: ManualClock, bad: bytes, seen: Seen
) -> None:
    @broker.subscriber("orders", redelivery=Redelivery(deliveries=2))
    async def handle(number: int) -> None:
        seen.note(number)

    await broker.start()
    await broker.publish(bad, "orders", headers={"content-type": "application/json"})
    await quiet()
    await clock.advance(1)
    assert not seen.notes
    assert [letter.delivery.envelope.body for letter in broker.dead_letters] == [bad]


@pytest.mark.parametrize(
    ("verdict", "times", "buried"),
    [(AckMessage, 1, 0), (RejectMessage, 1, 0), (NackMessage, 2, 1)],
)
async def test_a_handler_may_decide_by_raising(
    broker: MemoryBroker, seen: Seen, clock: ManualClock, verdict: type[Exception], times: int, buried: int
) -> None:
    @broker.subscriber("orders", redelivery=Redelivery(deliveries=2))
    async def handle(number: int) -> None:
        seen.note(number)
        raise verdict

    await broker.start()
    await broker.publish(1, "orders")
    await seen.until(1)
    await clock.advance(60)
    assert len(seen.notes) == times
    assert len(broker.dead_letters) == buried
    assert broker.log.stats("orders").messages == 0


async def test_the_first_verdict_counts(broker: MemoryBroker, seen: Seen, clock: ManualClock) -> None:
    @broker.subscriber("orders", ack_policy=AckPolicy.MANUAL)
    async def handle(number: int, message: Message) -> None:
        await message.ack()
        await message.nack()
        await message.reject()
        seen.note(number)

    await broker.start()
    await broker.publish(1, "orders")
    await seen.until(1)
    await clock.advance(60)
    assert seen.notes == [1]
    assert not broker.dead_letters


async def test_what_was_not_settled_goes_to_the_next(log: MemoryLog, seen: Seen) -> None:
    first, second = MemoryBroker(log, logger=None), MemoryBroker(log, logger=None)

    @first.subscriber("orders", ack_policy=AckPolicy.MANUAL)
    async def forget(number: int) -> None:
        seen.note(("forgot", number))

    @second.subscriber("orders", ack_policy=AckPolicy.ACK)
    async def handle(number: int, message: Message) -> None:
        seen.note(("did", number, message.raw_message.delivery.deliveries))

    await first.start()
    await first.publish(1, "orders")
    await seen.until(1)
    await first.stop()
    assert log.stats("orders").messages == 1
    await second.start()
    await seen.until(2)
    await second.stop()
    assert seen.notes == [("forgot", 1), ("did", 1, 2)]
    assert log.stats("orders").messages == 0


async def test_stopping_waits_for_running_handlers(broker: MemoryBroker, seen: Seen) -> None:
    may_end = asyncio.Event()

    @broker.subscriber("orders", max_workers=2, partitions=1)
    async def handle(number: int) -> None:
        seen.note(("began", number))
        await may_end.wait()
        seen.note(("ended", number))

    await broker.start()
    for number in range(3):
        await broker.publish(number, "orders")
    await seen.until(2)
    async with asyncio.TaskGroup() as tasks:
        stopping = tasks.create_task(broker.stop())
        await quiet()
        assert not stopping.done()
        may_end.set()
    assert seen.notes == [("began", 0), ("began", 1), ("ended", 0), ("ended", 1)]
    assert broker.log.stats("orders").messages == 1, "the third is kept for the next start"


async def test_a_handler_that_outlives_the_deadline_is_cancelled_awaited_and_its_message_kept(
    log: MemoryLog, seen: Seen
) -> None:
    broker = MemoryBroker(log, graceful_timeout=0.01, logger=None)

    @broker.subscriber("orders")
    async def handle(number: int) -> None:
        seen.note("began")
        try:
            await asyncio.Event().wait()
        finally:
            await quiet()
            seen.note("cleaned up")

    await broker.start()
    await broker.publish(1, "orders")
    await seen.until(1)
    await broker.stop()
    assert seen.notes == ["began", "cleaned up"]
    assert log.stats("orders").messages == 1


async def test_a_verdict_after_an_eviction_is_refused(broker: MemoryBroker, seen: Seen) -> None:
    go_on = asyncio.Event()

    @broker.subscriber("orders", ack_policy=AckPolicy.MANUAL)
    async def handle(number: int, message: Message) -> None:
        seen.note("began")
        await go_on.wait()
        try:
            await message.ack()
        except LeaseLost as error:
            seen.note(str(error))

    await broker.start()
    await broker.publish(1, "orders")
    await seen.until(1)
    [subscriber] = broker.subscribers
    subscriber._member.evict()  # type: ignore[attr-defined]
    go_on.set()
    await seen.until(2)
    assert "revoked" in seen.notes[1]
    assert broker.log.stats("orders").messages == 1


async def test_a_partition_with_a_running_handler_moves_when_it_ended(log: MemoryLog, seen: Seen) -> None:
    first, second = MemoryBroker(log, logger=None), MemoryBroker(log, logger=None)
    may_end = asyncio.Event()

    @first.subscriber("orders", partitions=2, max_workers=2)
    async def slow(number: int) -> None:
        seen.note("began")
        await may_end.wait()

    second.subscriber("orders")(_noting(seen, "second"))
    await first.start()
    for number in range(2):
        await first.publish(number, "orders")
    await seen.until(2)
    await second.start()
    await quiet()
    assert seen.notes == ["began", "began"], "it was delivered while its handler ran"
    may_end.set()
    for number in range(2, 4):
        await first.publish(number, "orders")
    await seen.until(4)
    await second.stop()
    await first.stop()
    assert seen.notes[2:] in (
        ["began", ("second", 2)],
        ["began", ("second", 3)],
        [("second", 2), "began"],
        [("second", 3), "began"],
    )


async def test_every_group_has_its_place_before_the_first_message_is_handled(
    broker: MemoryBroker, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscribers = [broker.subscriber("orders", group=group) for group in ("billing", "shipping")]
    for subscriber in subscribers:
        subscriber(_noting(seen, subscriber.group))
        starting = subscriber.start

        async def start_slowly(starting: Any = starting) -> None:
            await starting()
            await quiet()

        monkeypatch.setattr(subscriber, "start", start_slowly)
    await broker.connect()
    await broker.publish(1, "orders")
    await broker.start()
    await seen.until(2)
    assert sorted(seen.notes) == [("billing", 1), ("shipping", 1)]


async def test_a_handler_may_stop_its_subscriber(broker: MemoryBroker, seen: Seen) -> None:
    @broker.subscriber("orders", partitions=1, ack_policy=AckPolicy.ACK)
    async def handle(number: int) -> None:
        seen.note(number)
        raise StopConsume

    await broker.start()
    await broker.publish(1, "orders")
    await broker.publish(2, "orders")
    await seen.until(1)
    await quiet()
    assert seen.notes == [1]
    [subscriber] = broker.subscribers
    assert not subscriber.running
    heir = MemoryBroker(broker.log, logger=None)
    heir.subscriber("orders")(_noting(seen, "heir"))
    await heir.start()
    await seen.until(2)  # at once: the worker that stopped its subscriber is not waited for
    await heir.stop()
    assert seen.notes == [1, ("heir", 2)]


async def test_a_request_is_answered(broker: MemoryBroker) -> None:
    @broker.subscriber("double")
    async def double(number: int) -> int:
        return 2 * number

    publisher = broker.publisher("double")
    await broker.start()
    answer = await broker.request(21, "double", correlation_id="ask-1", timeout=5)
    assert await answer.decode() == 42
    assert answer.correlation_id == "ask-1"
    assert await (await publisher.request(4, timeout=5)).decode() == 8


async def test_a_request_without_an_answer_times_out(broker: MemoryBroker, clock: ManualClock) -> None:
    @broker.subscriber("nobody", no_reply=True)
    async def silent(number: int) -> int:
        return number

    await broker.start()
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(_outcome(broker, "nobody"))
        await quiet()
        assert not asking.done()
        await clock.advance(2)
        assert isinstance(await asking, TimeoutError)


async def test_an_answer_that_comes_too_late_is_dropped(
    broker: MemoryBroker, clock: ManualClock, seen: Seen, caplog: pytest.LogCaptureFixture
) -> None:
    go_on = asyncio.Event()

    @broker.subscriber("slow")
    async def slow(number: int, message: Message) -> int:
        seen.note(message.reply_to)
        await go_on.wait()
        return number

    await broker.start()
    with caplog.at_level(logging.INFO, "millrace.bus"):
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(_outcome(broker, "slow"))
            await seen.until(1)
            await clock.advance(2)
            assert isinstance(await asking, TimeoutError)
        go_on.set()
        await quiet()
    assert "nobody waits for it" in caplog.text
    assert broker.log.stats(seen.notes[0]).messages == 0
    assert broker.log.stats("slow").messages == 0


async def test_a_handler_that_cannot_be_cancelled_does_not_hold_up_the_stop(
    log: MemoryLog, seen: Seen, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    broker = MemoryBroker(log, graceful_timeout=0.01, logger=None)
    let_go = asyncio.Event()

    @broker.subscriber("orders")
    async def handle(number: int) -> None:
        seen.note("began")
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                seen.note("refused")

    await broker.start()
    await broker.publish(1, "orders")
    await seen.until(1)
    async with asyncio.TaskGroup() as tasks:
        stopping = tasks.create_task(broker.stop())
        await seen.until(2)
        await clock.advance(100)
        await stopping
    assert "does not end after its cancellation" in caplog.text
    assert log.stats("orders").messages == 1
    let_go.set()
    await quiet()


async def _outcome(broker: MemoryBroker, topic: str) -> BaseException | None:
    try:
        await broker.request(1, topic, timeout=2)
    except TimeoutError as error:
        return error
    return None


async def test_what_a_handler_returns_is_published_on(broker: MemoryBroker, seen: Seen) -> None:
    @broker.subscriber("out")
    async def take(value: dict[str, int], message: Message) -> None:
        delivery = message.raw_message.delivery
        seen.note((value, message.headers["source"], delivery.envelope.key, message.correlation_id))

    @broker.publisher("out", headers={"source": "step"})
    @broker.subscriber("in")
    async def step(number: int) -> MemoryResponse:
        return MemoryResponse({"number": number + 1}, key="k")

    await broker.start()
    await broker.publish(1, "in", correlation_id="flow-1")
    await seen.until(1)
    assert seen.notes == [({"number": 2}, "step", "k", "flow-1")]


async def test_routers_prefix_their_addresses(broker: MemoryBroker, seen: Seen) -> None:
    async def from_list(number: int) -> None:
        seen.note(("list", number))

    inner = MemoryRouter("inner.", handlers=[MemoryRoute(from_list, "listed")])
    router = MemoryRouter("shop.", routers=[inner])

    @router.subscriber("orders")
    async def handle(number: int) -> None:
        seen.note(("orders", number))

    publisher = router.publisher("orders")
    broker.include_router(router)
    await broker.start()
    await publisher.publish(1)
    await broker.publish(2, "shop.inner.listed")
    await seen.until(2)
    assert sorted(seen.notes) == [("list", 2), ("orders", 1)]


async def test_a_router_without_a_broker_says_so() -> None:
    router = MemoryRouter()

    @router.subscriber("orders")
    async def handle(number: int) -> None: ...

    [subscriber] = router.subscribers
    with pytest.raises(SetupError, match="include_router"):
        await subscriber.start()


async def test_messages_can_be_pulled(broker: MemoryBroker, clock: ManualClock) -> None:
    subscriber = broker.subscriber("orders", ack_policy=AckPolicy.MANUAL)
    await broker.start()
    for number in range(3):
        await broker.publish(number, "orders", key="k")
    message = await subscriber.get_one(timeout=5)
    assert message is not None
    assert await message.decode() == 0
    await message.ack()
    async for message in subscriber:
        await message.ack()
        if await message.decode() == 2:
            break
    async with asyncio.TaskGroup() as tasks:
        nothing = tasks.create_task(subscriber.get_one(timeout=5))
        await quiet()
        await clock.advance(5)
        assert await nothing is None
    assert broker.log.stats("orders").messages == 0


async def test_pulling_needs_a_started_subscriber_without_handlers(broker: MemoryBroker) -> None:
    subscriber = broker.subscriber("orders")
    with pytest.raises(RuntimeError, match="not started"):
        await subscriber.get_one(timeout=0)
    subscriber(_noting(Seen(), ""))
    await broker.start()
    with pytest.raises(RuntimeError, match="has handlers"):
        await subscriber.get_one(timeout=0)


async def test_middlewares_wrap_handlers_and_publishing(log: MemoryLog, seen: Seen) -> None:
    class Noting(BaseMiddleware):
        async def consume_scope(self, call_next: Any, msg: Any) -> Any:
            seen.note(f"consume {msg.message_id}")
            return await call_next(msg)

        async def publish_scope(self, call_next: Any, cmd: Any) -> Any:
            seen.note(f"publish {cmd.destination}")
            return await call_next(cmd)

    broker = MemoryBroker(log, middlewares=[Noting], logger=None)

    @broker.subscriber("orders")
    async def handle(number: int) -> None:
        seen.note(number)

    await broker.start()
    await broker.publish(1, "orders", headers={"message-id": "m1"})
    await seen.until(3)
    await broker.stop()
    assert seen.notes == ["publish orders", "consume m1", 1]


async def test_a_broker_starts_and_stops_with_a_faststream_application(log: MemoryLog, seen: Seen) -> None:
    broker = MemoryBroker(log, logger=None)
    app = FastStream(broker, logger=None)

    @broker.subscriber("orders")
    async def handle(number: int) -> None:
        seen.note(number)

    for round_number in range(2):
        await app.start()
        assert await broker.ping()
        await broker.publish(round_number, "orders")
        await seen.until(round_number + 1)
        await app.stop()
        assert not await broker.ping()
        with pytest.raises(Unavailable, match="not open"):
            await broker.publish(1, "orders")


async def test_documents_show_handlers_and_publishers(broker: MemoryBroker) -> None:
    @broker.publisher("out", title="Results")
    @broker.subscriber("in", description="Numbers.")
    async def step(number: int) -> str:
        return str(number)

    document = json.loads(FastStream(broker).schema.to_specification().to_json())
    assert document["servers"]["development"]["protocol"] == "memory"
    by_address = {channel["address"]: channel for channel in document["channels"].values()}
    assert set(by_address) == {"in", "out"}
    assert by_address["in"]["description"] == "Numbers."
    schemas = document["components"]["schemas"]
    assert {schema["type"] for schema in schemas.values()} == {"integer", "string"}
    assert {operation["action"] for operation in document["operations"].values()} == {"receive", "send"}


async def test_the_default_logger_writes_where_messages_go(log: MemoryLog, seen: Seen) -> None:
    logger = logging.getLogger("faststream.access.memory")
    written: list[str] = []

    class Catching(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.append(f"{record.__dict__['topic']} {record.getMessage()}")

    broker = MemoryBroker(log)

    @broker.subscriber("orders")
    async def handle(number: int) -> None:
        seen.note(number)

    catching = Catching()
    logger.addHandler(catching)
    try:
        await broker.start()
        await broker.publish(1, "orders")
        await seen.until(1)
    finally:
        await broker.stop()
        logger.removeHandler(catching)
    assert "orders Received" in written


async def test_what_the_broker_does_not_do_it_says(broker: MemoryBroker) -> None:
    await broker.connect()
    with pytest.raises(BadInput, match="no address"):
        await broker.publish(1)
    with pytest.raises(FeatureNotSupportedException):
        await broker.publish_batch(1, 2, queue="orders")
    with pytest.raises(ValueError, match="max_workers=0"):
        broker.subscriber("orders", max_workers=0)
