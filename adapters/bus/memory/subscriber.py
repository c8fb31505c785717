"""Native subscribers: FastStream handlers that are called message by message."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from typing import Any

from faststream._internal.endpoint.subscriber import SubscriberSpecification, SubscriberUsecase
from faststream._internal.endpoint.subscriber.call_item import CallsCollection
from faststream._internal.endpoint.utils import process_msg
from faststream.message import StreamMessage

from adapters.bus.memory.config import MemorySubscriberConfig, log_of
from adapters.bus.memory.log import MemoryLog
from adapters.bus.memory.member import Lease, Member
from adapters.bus.memory.message import Received
from adapters.bus.memory.parser import MemoryParser
from adapters.bus.memory.publisher import MemoryAnswer
from adapters.bus.owned import OwnedTasks
from contracts.cancellation import being_cancelled

DEFAULT_REVOKE_WAIT_S = 15.0
CLEAN_UP_WAIT_S = 5.0  # for handlers that were cancelled

_logger = logging.getLogger("millrace.bus")


class MemorySubscriber(SubscriberUsecase[Received]):
    """`max_workers` handlers side by side, in the order of the partitions when there is one.

    A partition that goes to another member is given up when its running handlers ended, or at the broker's graceful
    timeout. A cancelled handler settles nothing: its message is delivered again.
    """

    def __init__(
        self,
        config: MemorySubscriberConfig,
        specification: SubscriberSpecification[Any, Any],
        calls: CallsCollection[Received],
    ) -> None:
        parser = MemoryParser()
        config.parser = parser.parse_message
        config.decoder = parser.decode_message
        super().__init__(config, specification, calls)
        self.group = config.group
        self._config = config
        self._member: Member | None = None
        self._workers = OwnedTasks(f"subscriber {config.topic}")
        self._running: dict[asyncio.Task[Any] | None, Lease] = {}
        self._idle = asyncio.Event()

    @property
    def topic(self) -> str:
        return f"{self._outer_config.prefix}{self._config.topic}"

    @property
    def log(self) -> MemoryLog:
        return log_of(self._outer_config)

    def claim(self) -> None:
        """Make the group's place, so that nothing that is published from now on is missed."""
        self.log.subscribe(self.topic, self.group, self._config.partitions)

    async def start(self) -> None:
        if self._member is not None:
            return
        topic, group = self.log.subscribe(self.topic, self.group, self._config.partitions)
        await super().start()
        wait_s = self._outer_config.graceful_timeout or DEFAULT_REVOKE_WAIT_S
        self._member = member = Member(topic, group, self, revoke_wait_s=wait_s)
        self._post_start()
        if self.calls:
            for number in range(self._config.max_workers):
                self._workers.start(self._work(member), f"worker {number}")
        group.join(member)

    async def stop(self) -> None:
        """Take nothing more, wait for running handlers up to the graceful timeout, cancel the rest and await it."""
        member, self._member = self._member, None
        if member is None:
            return
        member.drain()
        # A handler may stop its own subscriber (`StopConsume`): that worker is through with its message.
        self._running.pop(asyncio.current_task(), None)
        try:
            await super().stop()
        finally:
            await self._cut_workers()
            await member.leave()

    def drain(self) -> None:
        """Take nothing more; what runs goes on."""
        if self._member:
            self._member.drain()

    async def assigned(self, lease: Lease) -> None:
        """Nothing to prepare: messages are settled one by one."""

    async def revoked(self, lease: Lease) -> None:
        while lease in self._running.values():
            self._idle.clear()
            await self._idle.wait()

    async def get_one(self, *, timeout: float = 5.0) -> StreamMessage[Received] | None:  # noqa: ASYNC109
        """The next message, for a subscriber without handlers; `None` when none came in time."""
        member = self._started()
        try:
            async with self.log.clock.timeout(timeout):
                return await self._next_message(member)
        except TimeoutError:
            return None

    async def __aiter__(self) -> AsyncIterator[StreamMessage[Received]]:
        member = self._started()
        while self.running:
            yield await self._next_message(member)

    def get_log_context(self, message: StreamMessage[Any] | None) -> dict[str, str]:
        return {"topic": self.topic, "group": self.group, "message_id": getattr(message, "message_id", "")}

    def _make_response_publisher(self, message: StreamMessage[Any]) -> Iterable[MemoryAnswer]:
        return (MemoryAnswer(producer=self._outer_config.producer, topic=message.reply_to),)

    async def _work(self, member: Member) -> None:
        while self.running:
            received = self._take(member)
            if received is None:
                member.wake.clear()
                await member.wake.wait()
                continue
            lease = received.lease
            assert lease is not None
            self._running[asyncio.current_task()] = lease
            try:
                await self.consume(received)
            except asyncio.CancelledError:
                if being_cancelled():
                    raise  # what is not settled comes again when the partitions are given up
                if not lease.over:
                    received.refuse("its handler waited for something that was cancelled")
            finally:
                self._running.pop(asyncio.current_task(), None)
                self._idle.set()

    async def _next_message(self, member: Member) -> StreamMessage[Received]:
        while (received := self._take(member)) is None:
            member.wake.clear()
            await member.wake.wait()
        context = self._outer_config.context
        parser, decoder = self._get_parser_and_decoder()
        message: StreamMessage[Received] | None = await process_msg(
            msg=received,
            middlewares=(middleware(received, context=context) for middleware in self._broker_middlewares),
            parser=parser,
            decoder=decoder,
        )
        assert message is not None
        return message

    async def _cut_workers(self) -> None:
        try:
            async with self.log.clock.timeout(CLEAN_UP_WAIT_S):
                await self._workers.close()
        except TimeoutError:
            self._running.clear()
            _logger.warning("a handler of %s does not end after its cancellation; its message is kept", self.topic)

    def _take(self, member: Member) -> Received | None:
        while lease := member.next_ready():
            taken = lease.take(1, 1)
            lease.signal()
            if taken:
                return Received(taken[0], lease, log=self.log, group=self.group, redelivery=self._config.redelivery)
        return None

    def _started(self) -> Member:
        if self._member is None:
            raise RuntimeError("the subscriber is not started: start it, or its broker, before asking for messages")
        if self.calls:
            raise RuntimeError("the subscriber has handlers, which take its messages: ask one without handlers")
        return self._member
