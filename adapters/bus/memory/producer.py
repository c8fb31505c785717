"""From a publish command to an envelope in the log."""

from __future__ import annotations

from typing import Any

import msgspec
from faststream._internal.endpoint.utils import ParserComposition
from faststream._internal.parser import CodecProto, DefaultCodec
from faststream._internal.producer import ProducerProto
from faststream.exceptions import FeatureNotSupportedException

from adapters.bus.identity import correlation_id, text_headers
from adapters.bus.memory.command import MemoryPublishCommand
from adapters.bus.memory.log import MemoryLog
from adapters.bus.memory.message import Received
from adapters.bus.memory.parser import CONTENT_TYPE, REPLY_TO, MemoryParser
from adapters.bus.wire import CORRELATION, from_wire
from contracts.errors import Unavailable
from contracts.message import Delivery, Envelope, Partition


class MemoryProducer(ProducerProto[MemoryPublishCommand]):
    """Publishes into the log while it is connected."""

    def __init__(self, parser: Any = None, decoder: Any = None) -> None:
        default = MemoryParser()
        self._parser = ParserComposition(parser, default.parse_message)
        self._decoder = ParserComposition(decoder, default.decode_message)
        self.codec: CodecProto = DefaultCodec()
        self._serializer: Any = None
        self._log: MemoryLog | None = None

    def connect(self, log: MemoryLog, serializer: Any, codec: CodecProto | None) -> None:
        self._log = log
        self._serializer = serializer
        self.codec = codec or DefaultCodec()

    def disconnect(self) -> None:
        self._log = None

    @property
    def log(self) -> MemoryLog:
        """Raises `Unavailable` while the broker is not connected."""
        if self._log is None:
            raise Unavailable("the memory bus", "it is not open; call `open()` (or the broker's `connect()`) first")
        return self._log

    async def publish(self, cmd: MemoryPublishCommand) -> None:
        log = self.log
        await log.publish(await self._envelope(MemoryPublishCommand.from_cmd(cmd), log))

    async def request(self, cmd: MemoryPublishCommand) -> Received:
        """Publish and wait for the answer; raises `TimeoutError`."""
        log = self.log
        with log.ask() as (address, asked):
            cmd.reply_to = address
            async with log.clock.timeout(cmd.timeout_s):
                await self.publish(cmd)
                answer = await asked
        return Received(Delivery(answer, Partition(address, 0), 0), log=log)

    async def publish_batch(self, cmd: MemoryPublishCommand) -> None:
        raise FeatureNotSupportedException(
            "The memory broker publishes one message at a time: call `publish` for each."
        )

    async def _envelope(self, cmd: MemoryPublishCommand, log: MemoryLog) -> Envelope:
        headers = text_headers(cmd.headers)
        body, content_type = await self.codec.encode(cmd.body, self._serializer)
        if cmd.envelope is not None:
            return msgspec.structs.replace(
                cmd.envelope, body=body, headers=headers, address=cmd.destination, key=cmd.key
            )
        if content_type:
            headers.setdefault(CONTENT_TYPE, content_type)
        if cmd.reply_to:
            headers[REPLY_TO] = cmd.reply_to
        clock = log.clock
        envelope = from_wire(
            cmd.destination,
            body,
            key=cmd.key,
            headers={**headers, CORRELATION: correlation_id(cmd.correlation_id, clock)}.items(),
            origin=clock.new_id(),
            stored_ms=round(clock.now().timestamp() * 1000),
        )
        return envelope if cmd.not_before is None else msgspec.structs.replace(envelope, not_before=cmd.not_before)
