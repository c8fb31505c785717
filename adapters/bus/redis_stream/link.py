"""Connections: one that pipelines what its callers ask for at the same time, and one that waits."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError

from adapters.bus.owned import OwnedTasks
from adapters.bus.redis_stream.refusal import in_words
from adapters.bus.redis_stream.script import Command, Wanted
from adapters.bus.redis_stream.server import NAME, Server
from contracts.cancellation import being_cancelled
from contracts.errors import Transient, Unavailable
from contracts.ports.clock import Clock

MAX_COMMANDS = 4_000
"""How many go in one round trip: what bounds the memory of a flush and the time of its deadline."""


class Link:
    """One connection, made when it is needed and again after it broke.

    What is asked for while a round trip is under way goes together in the next one, in the order in which it was asked
    for. Every round trip has a deadline, after which the connection is given up: then nobody knows what of it was done.
    """

    def __init__(self, server: Server, *, clock: Clock, timeout_s: float, name: str) -> None:
        self._server = server
        self._clock = clock
        self._timeout_s = timeout_s
        self._wire = Wire(server, clock=clock, timeout_s=timeout_s)
        self._tasks = OwnedTasks(f"redis link {name}")
        self._waiting: deque[tuple[Sequence[Command], asyncio.Future[list[Any]]]] = deque()
        self._flushing = False
        self._closed = False

    @property
    def made(self) -> int:
        """How often it was connected."""
        return self._wire.made

    async def call(self, *command: str | bytes | int) -> Any:
        """The reply; raises `Transient` when Redis is full, else `Unavailable`."""
        [reply] = await self.calls([command])
        return checked(reply)

    async def script(self, name: str, keys: Sequence[str], *arguments: str | bytes | int) -> Any:
        """Run one of ours; the server is sent the text when it doesn't know it (any more)."""
        [reply] = await self.scripts([(name, keys, arguments)])
        return checked(reply)

    async def scripts(self, wanted: Sequence[Wanted]) -> list[Any]:
        """Several in one round trip; errors are among the replies."""
        return await self._server.scripts.run(self.calls, wanted)

    async def calls(self, commands: Sequence[Command]) -> list[Any]:
        """The replies to all, in one round trip where they are few; errors are among the replies."""
        if self._closed:
            raise Unavailable(NAME, "the connection is closed")
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._waiting.append((commands, future))
        if not self._flushing:
            self._flushing = True
            self._tasks.start(self._flush(), "flush")
        return await future

    async def close(self) -> None:
        """Idempotent. Whoever waits is told."""
        self._closed = True
        await self._tasks.close()
        self._refuse(self._waiting, Unavailable(NAME, "the connection is closed"))
        await self._wire.close()

    def abandon(self) -> None:
        """Close at once, without a goodbye."""
        self._closed = True
        self._tasks.cancel()
        self._refuse(self._waiting, Unavailable(NAME, "the connection is closed"))
        self._wire.abandon()

    async def _flush(self) -> None:
        try:
            while self._waiting:
                batch = self._take()
                try:
                    await self._round_trip(batch)
                except BaseException as error:
                    why = error if isinstance(error, Unavailable) else Unavailable(NAME, "the connection is closed")
                    self._refuse(batch, why)
                    self._refuse(self._waiting, why)  # or each would wait for a deadline of its own
                    if why is not error:
                        raise
        finally:
            self._flushing = False

    def _take(self) -> deque[tuple[Sequence[Command], asyncio.Future[list[Any]]]]:
        taken = deque([self._waiting.popleft()])
        size = len(taken[0][0])
        while self._waiting and size + len(self._waiting[0][0]) <= MAX_COMMANDS:
            taken.append(self._waiting.popleft())
            size += len(taken[-1][0])
        return taken

    async def _round_trip(self, batch: deque[tuple[Sequence[Command], asyncio.Future[list[Any]]]]) -> None:
        await self._wire.connect()
        await self._wire.send([command for commands, _ in batch for command in commands])
        while batch:  # who was answered is not told of a failure behind it
            replies = await self._wire.receive(len(batch[0][0]), within_s=self._timeout_s)
            _, future = batch.popleft()
            if not future.done():
                future.set_result(replies)

    def _refuse(self, batch: deque[tuple[Sequence[Command], asyncio.Future[list[Any]]]], error: Unavailable) -> None:
        while batch:
            _, future = batch.popleft()
            if not future.done():
                future.set_exception(error)
                future.exception()  # its caller may have given up


class Wire:
    """One connection as commands out and replies in, for one user at a time.

    Every method raises `Unavailable` when it can't do what it says; the connection is closed then.
    """

    def __init__(self, server: Server, *, clock: Clock, timeout_s: float) -> None:
        self._server = server
        self._clock = clock
        self._timeout_s = timeout_s
        self._connection: AbstractConnection | None = None
        self.made = 0
        """How often it was connected."""

    @property
    def connected(self) -> bool:
        return self._connection is not None

    async def connect(self) -> None:
        """Idempotent; a connection that the other side closed since is made anew."""
        connection = self._connection
        try:
            # Nothing is on its way to us between two round trips, so what can be read is the end.
            if connection is not None and not await connection.can_read():
                return
            await self.close()
            async with self._clock.timeout(self._timeout_s):
                connection = self._server.connection()
                await connection.connect()  # type: ignore[no-untyped-call]
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is raised again
            if connection is not None:
                await connection.disconnect(nowait=True)
            raise await self._broken(error, hint=self._server.hint) from None
        self._connection = connection
        self.made += 1

    async def script(self, name: str, keys: Sequence[str], *arguments: str | bytes | int) -> Any:
        """The reply of one of ours, or its error."""
        [reply] = await self._server.scripts.run(self.exchange, [(name, keys, arguments)])
        return reply

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Send and receive; errors of single commands are among the replies."""
        await self.send(commands)
        return await self.receive(len(commands), within_s=self._timeout_s)

    async def send(self, commands: Sequence[Command]) -> None:
        """On the connection that there is: what it knows (what it watches) was said on it."""
        connection = self._connection
        if connection is None or not connection.is_connected:
            raise Unavailable(NAME, f"the connection to {self._server.address} is closed")
        packed = [pack_command(command) for command in commands]
        try:
            async with self._clock.timeout(self._timeout_s):
                await connection.send_packed_command(packed, check_health=False)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is raised again
            raise await self._broken(error) from None

    async def receive(self, count: int, *, within_s: float) -> list[Any]:
        """So many replies; errors of single commands are among them."""
        connection = self._connection
        if connection is None:
            raise Unavailable(NAME, f"the connection to {self._server.address} is closed")
        replies: list[Any] = []
        try:
            async with self._clock.timeout(within_s):
                for _ in range(count):
                    try:
                        replies.append(await connection.read_response(disable_decoding=True))
                    except ResponseError as error:
                        replies.append(error)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is raised again
            raise await self._broken(error) from None
        return replies

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    def abandon(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection._close()  # type: ignore[no-untyped-call]

    async def _broken(self, error: BaseException, *, hint: str = "") -> BaseException:
        """The error to raise, once the connection is closed; `hint` says what else may keep it from answering."""
        await self.close()
        if isinstance(error, asyncio.CancelledError) and being_cancelled():
            return error
        if isinstance(error, TimeoutError):
            return Unavailable(NAME, f"{self._server.address} did not answer within {self._timeout_s:g} s{hint}")
        if isinstance(error, RedisError | OSError | asyncio.CancelledError):
            return Unavailable(NAME, f"{self._server.address}: {in_words(error, otherwise=hint)}")
        return error


def checked(reply: Any) -> Any:
    """The reply unless it is an error, which is raised as one of ours."""
    if isinstance(reply, ResponseError):
        text = str(reply)
        if isinstance(reply, OutOfMemoryError) or "OOM" in text:
            raise Transient(f"Redis takes nothing more: {text}; raise maxmemory, or let its consumers catch up")
        raise Unavailable(NAME, in_words(reply))
    return reply


def is_gone(reply: Any) -> bool:
    """The stream or its group is not there any more."""
    return isinstance(reply, ResponseError) and "NOGROUP" in str(reply)
