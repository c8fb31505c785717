"""A TCP proxy between clients and a real service, which cuts, refuses, stalls, throttles and delays.

async with proxied(redis_server) as proxy:
    client = Redis.from_url(proxy.url)
    proxy.stall()
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from pathlib import Path
from typing import Literal

from adapters.clock.system import SystemClock
from tests.kit.services.ports import HOST, Port

CHUNK_BYTES = 16 * 1024
CHUNKS = 16
"""Held for each direction of a connection at the most; what comes after them waits in the sender's own buffers."""
CONNECT_TIMEOUT_S = 10.0
THROTTLE_STEP_S = 0.02
TURNS = 5
"""Of the loop, from the moment in which a connection is accepted until it is handed over, and some more: asyncio leaves
one open whose server is closed meanwhile."""
RESET_ON_CLOSE = struct.pack("ii", 1, 0)

Way = Literal["requests", "answers"]
Target = tuple[str, int] | Path
"""Host and port, or a unix socket."""


class Proxy:
    """What is done to it holds for the connections that are there and for later ones; it is undone by its opposite.

    `cut`, `stall`, `resume`, `throttle` and `delay` return at once. A client whose server is down sees its connection
    accepted and then reset.
    """

    def __init__(self, target: Target, *, port: int | None = None, tls: ssl.SSLContext | None = None) -> None:
        self._kept = Port() if port is None else None
        self.port: int = self._kept.number if self._kept else port or 0
        self.url = ""
        """What a client is given; set by who opens it."""
        self.accepted = 0
        """How many connections there have been."""
        self.waiting_bytes = 0
        """Read and not passed on yet: above 0 once somebody waits for what is stalled or delayed."""
        self._target = target
        self._tls = tls
        self._clock = SystemClock()
        self._tasks = asyncio.TaskGroup()
        self._running: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._flows: dict[Way, asyncio.Event] = {"requests": asyncio.Event(), "answers": asyncio.Event()}
        self._bytes_per_s: float | None = None
        self._delay_s = 0.0
        self.resume()

    @property
    def connections(self) -> int:
        """How many clients are connected to the service."""
        return len(self._open) // 2

    def cut(self) -> None:
        """Reset every connection; what they had in flight is lost. New ones are accepted."""
        for writer in self._open:
            _reset(writer)
        for task in self._running:
            task.cancel()

    async def refuse(self) -> None:
        """Whoever connects is refused, until `accept`. Connections that are there stay."""
        server, self._server = self._server, None
        if server is None:
            return
        for listening in server.sockets:
            asyncio.get_running_loop().remove_reader(listening.fileno())
        for _ in range(TURNS):
            await asyncio.sleep(0)  # noqa: TID251 - turns of the loop, as there is nothing that tells
        server.close()

    async def accept(self) -> None:
        """The opposite of `refuse`, on the same port. Idempotent."""
        if self._server is None:
            self._server = await asyncio.start_server(
                self._connected, HOST, self.port, limit=CHUNK_BYTES, reuse_address=True
            )

    def stall(self, way: Way | None = None) -> None:
        """Bytes stop flowing (in one direction only, if it is named), and the connections stay, until `resume`."""
        for each in [way] if way else self._flows:
            self._flows[each].clear()

    def resume(self) -> None:
        """What was stalled goes on; nothing of it was lost."""
        for flows in self._flows.values():
            flows.set()

    def throttle(self, bytes_per_s: float | None) -> None:
        """So many in each direction of each connection; None: as many as there are."""
        self._bytes_per_s = bytes_per_s

    def delay(self, delay_s: float) -> None:
        """Every byte arrives so much later, in either direction; 0: at once."""
        self._delay_s = delay_s

    async def __aenter__(self) -> Proxy:
        await self._tasks.__aenter__()
        await self.accept()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.refuse()
        self.cut()
        await self._tasks.__aexit__(None, None, None)
        if self._kept:
            self._kept.release()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None:  # accepted just before `refuse`; at the end there would be no task for it any more
            _reset(writer)
            return
        self.accepted += 1
        task = self._tasks.create_task(self._serve(reader, writer))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(lambda _: _reset(writer))  # also when it was cut before it began

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        """One connection, to its end. An error on either side resets the other."""
        pair = [to_client]
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                if self._tls is not None:
                    await to_client.start_tls(self._tls)
                server, to_server = await self._connect()
            pair.append(to_server)
            self._open.update(pair)
            for writer in pair:
                if writer.get_extra_info("ssl_object") is None:  # (a limit of 0 stops asyncio's TLS for good)
                    writer.transport.set_write_buffer_limits(0)  # `drain` waits until the kernel has everything
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass_on("requests", client, to_server))
                both.create_task(self._pass_on("answers", server, to_client))
            for writer in pair:
                writer.close()
        except* (OSError, TimeoutError):
            pass
        finally:
            for writer in pair:
                self._open.discard(writer)
                _reset(writer)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._target, Path):
            return await asyncio.open_unix_connection(self._target, limit=CHUNK_BYTES)
        return await asyncio.open_connection(*self._target, limit=CHUNK_BYTES)

    async def _pass_on(self, way: Way, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        """Everything of one direction, in order, until its end, which is passed on as well."""
        held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(CHUNKS)
        async with asyncio.TaskGroup() as both:
            both.create_task(self._take(source, held))
            both.create_task(self._give(way, held, target))

    async def _take(self, source: asyncio.StreamReader, held: asyncio.Queue[tuple[float, bytes]]) -> None:
        while chunk := await source.read(CHUNK_BYTES):
            await held.put((self._clock.monotonic() + self._delay_s, chunk))
            self.waiting_bytes += len(chunk)
        await held.put((0, b""))

    async def _give(self, way: Way, held: asyncio.Queue[tuple[float, bytes]], target: asyncio.StreamWriter) -> None:
        chunk = b""
        try:
            while True:
                due, chunk = await held.get()
                if (early_s := due - self._clock.monotonic()) > 0:
                    await self._clock.sleep(early_s)
                await self._flows[way].wait()
                if not chunk:
                    break
                await self._write(way, chunk, target)
                self.waiting_bytes -= len(chunk)
                chunk = b""
        finally:
            self.waiting_bytes -= len(chunk) + sum(len(held.get_nowait()[1]) for _ in range(held.qsize()))
        if target.can_write_eof():
            target.write_eof()
        else:
            target.close()

    async def _write(self, way: Way, chunk: bytes, target: asyncio.StreamWriter) -> None:
        while chunk:
            await self._flows[way].wait()
            rate = self._bytes_per_s
            size = len(chunk) if rate is None else max(1, int(rate * THROTTLE_STEP_S))
            part, chunk = chunk[:size], chunk[size:]
            target.write(part)
            await target.drain()
            if rate is not None:
                await self._clock.sleep(len(part) / rate)


def _reset(writer: asyncio.StreamWriter) -> None:
    """At once, so that the other side is told by an error and not by an orderly end."""
    transport = writer.transport
    if not transport.is_closing():
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    transport.abort()
